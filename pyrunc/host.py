"""Facts about this host, as far as containers need them. Read-only; slow leaf of ``plan`` and ``doctor``."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from pyrunc.vocabulary.capabilities import CAPABILITIES
from pyrunc.vocabulary.namespaces import NAMESPACE_FILES


def text_of(path: str) -> str:
    """What a small file says, without the newline; "" if it can't be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def namespaces() -> list[str]:
    """The kinds that this kernel has, by the words of the specification."""
    return [kind for kind, file in NAMESPACE_FILES.items() if os.path.exists(f"/proc/self/ns/{file}")]


@functools.cache
def filesystems() -> frozenset[str]:
    """The types that can be mounted without loading a module."""
    return frozenset(line.split()[-1] for line in text_of("/proc/filesystems").splitlines())


@functools.cache
def modules() -> frozenset[str]:
    """Names of the modules that the kernel could load."""
    names = text_of(f"/lib/modules/{os.uname().release}/modules.dep").splitlines()
    return frozenset(line.split(":")[0].rpartition("/")[2].split(".")[0].replace("-", "_") for line in names)


def status_of_self(key: str) -> str:
    """A field of /proc/self/status; "" if there is none."""
    for line in text_of("/proc/self/status").splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return value.strip()
    return ""


def capabilities(which: str) -> frozenset[str]:
    """A set of this process: "CapEff", "CapBnd", …"""
    mask = int(status_of_self(which) or "0", 16)
    return frozenset(name for name, number in CAPABILITIES.items() if mask >> number & 1)


def apparmor() -> bool:
    return text_of("/sys/module/apparmor/parameters/enabled") == "Y"


def selinux() -> bool:
    return os.path.exists("/sys/fs/selinux/enforce")
