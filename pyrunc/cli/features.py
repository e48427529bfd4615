"""The document of `features`: features.md and features-linux.md of the runtime-spec, version 1.3.

What this build recognises, whatever the host can do. Each list is the table that the compiler itself uses.
"""

from __future__ import annotations

from typing import Any

from pyrunc.version import __version__
from pyrunc.vocabulary import mount_options, scheduling, seccomp
from pyrunc.vocabulary.annotations import UNSAFE
from pyrunc.vocabulary.capabilities import CAPABILITIES
from pyrunc.vocabulary.hooks import HOOKS
from pyrunc.vocabulary.namespaces import NAMESPACES
from pyrunc.vocabulary.versions import NEWEST, OLDEST


def document() -> dict[str, Any]:
    """The features structure, as JSON's types."""
    return {
        "ociVersionMin": OLDEST,
        "ociVersionMax": NEWEST,
        "hooks": list(HOOKS),
        "mountOptions": sorted(mount_options.KNOWN),
        "linux": {
            "namespaces": sorted(NAMESPACES),
            "capabilities": list(CAPABILITIES),
            "cgroup": {
                "v1": True,
                "v2": True,
                "systemd": True,
                "systemdUser": True,
                "rdma": True,
            },
            "seccomp": {
                "enabled": True,
                "actions": list(seccomp.ACTIONS),
                "operators": list(seccomp.OPERATORS),
                "archs": list(seccomp.ARCHITECTURES),
                "knownFlags": list(seccomp.FLAGS),
                "supportedFlags": list(seccomp.FLAGS),
            },
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "intelRdt": {"enabled": True, "schemata": True, "monitoring": True},
            "memoryPolicy": {
                "modes": list(scheduling.MEMORY_MODES),
                "flags": list(scheduling.MEMORY_FLAGS),
            },
            "mountExtensions": {"idmap": {"enabled": True}},
            "netDevices": {"enabled": True},
        },
        "annotations": {"io.github.pyrunc.version": __version__},
        "potentiallyUnsafeConfigAnnotations": list(UNSAFE),
    }
