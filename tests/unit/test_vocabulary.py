"""The tables of words: what is documented and announced is what the compiler reads."""

from __future__ import annotations

import importlib.util
import re
import signal
from pathlib import Path
from types import ModuleType

import pytest

from pyrunc.cli.features import document
from pyrunc.plan.mounts import Options
from pyrunc.spec import Object
from pyrunc.vocabulary import mount_options as words
from pyrunc.vocabulary.hooks import HOOKS
from pyrunc.vocabulary.signals import SIGNALS
from tests.unit.test_schema_agreement import part_of_schema

REPO = Path(__file__).resolve().parents[2]

# The table of config.md, Linux mount options; `rnodev` is in features.md only.
OF_THE_SPEC = (
    *("async", "atime", "bind", "defaults", "dev", "diratime", "dirsync", "exec", "iversion", "lazytime"),
    *("loud", "noatime", "nodev", "nodiratime", "noexec", "noiversion", "nolazytime", "norelatime"),
    *("nostrictatime", "nosuid", "private", "ratime", "rbind", "rdev", "rdiratime", "relatime", "remount"),
    *("rexec", "rnoatime", "rnodiratime", "rnoexec", "rnorelatime", "rnostrictatime", "rnosuid", "ro"),
    *("rprivate", "rrelatime", "rro", "rrw", "rshared", "rslave", "rstrictatime", "rsuid", "runbindable"),
    *("rw", "shared", "silent", "slave", "strictatime", "suid", "sync", "unbindable", "mand", "nomand"),
    *("nosymfollow", "symfollow", "rsymfollow", "rnosymfollow", "idmap", "ridmap", "tmpcopyup", "rnodev"),
)


def script(name: str) -> ModuleType:
    found = importlib.util.spec_from_file_location(name, REPO / "scripts" / f"{name}.py")
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def options(*names: str) -> Options:
    return Options(Object({"options": list(names)}, "mounts[0]"))


@pytest.mark.parametrize("option", OF_THE_SPEC)
def test_every_mount_option_of_the_spec_is_known(option: str) -> None:
    assert option in words.KNOWN
    assert options(option).parameters in ([], [words.SUPERBLOCK.get(option, ("", False))[0]])


def test_no_option_has_two_meanings() -> None:
    assert len(words.KNOWN) == len(set(words.KNOWN))


@pytest.mark.parametrize("name", sorted(words.SUPERBLOCK))
def test_a_later_option_takes_an_earlier_one_back(name: str) -> None:
    flag, on = words.SUPERBLOCK[name]
    opposite = (
        next(other for other, entry in words.SUPERBLOCK.items() if entry == (flag, not on))
        if (flag, not on) in words.SUPERBLOCK.values()
        else ""
    )
    assert options(opposite, name).parameters == ([flag] if on else [])


def test_what_is_not_known_goes_to_the_file_system_in_order() -> None:
    assert options("size=1m", "ro", "defaults", "mode=700", "acl").parameters == [
        "size=1m",
        "mode=700",
        "acl",
    ]


def test_hooks_are_those_of_the_schema_in_order() -> None:
    assert list(HOOKS) == list(part_of_schema(("hooks",))["properties"])


def test_signals_are_those_of_the_system() -> None:
    assert {name: int(signal.Signals[name]) for name in SIGNALS if name != "SIGSTKFLT"} == {
        name: number for name, number in SIGNALS.items() if name != "SIGSTKFLT"
    }


def test_the_page_of_the_vocabulary_is_current() -> None:
    page = script("vocabulary").page()
    assert (REPO / "docs" / "vocabulary.md").read_text() == page, "run make vocabulary"


@pytest.mark.spec("features")
def test_features_names_only_what_is_in_the_tables() -> None:
    found = document()
    assert set(found["mountOptions"]) == set(words.KNOWN) >= set(OF_THE_SPEC)
    assert found["hooks"] == list(HOOKS)
    linux = found["linux"]
    assert set(linux["namespaces"]) == set(part_of_schema(("linux", "namespaces", 0, "type"))["enum"])
    seccomp = part_of_schema(("linux", "seccomp"))["properties"]
    assert set(linux["seccomp"]["knownFlags"]) == set(seccomp["flags"]["items"]["enum"])
    assert set(linux["seccomp"]["archs"]) == set(seccomp["architectures"]["items"]["enum"])


@pytest.mark.spec("features")
def test_every_annotation_that_is_read_is_told_of() -> None:
    """Whoever passes on the annotations of strangers has to know which ones do something."""
    files = [file for file in (REPO / "pyrunc").rglob("*.py") if file.name != "annotations.py"]
    text = "".join(file.read_text() for file in files)
    read = set(re.findall(r'"((?:run\.oci|org\.systemd|org\.criu)\.[a-z._]+)"', text))
    assert read == set(document()["potentiallyUnsafeConfigAnnotations"])


@pytest.mark.spec("features")
def test_no_property_of_the_features_document_is_left_out() -> None:
    """The structure of features.md and features-linux.md."""
    found = document()
    assert set(found) == {
        *("ociVersionMin", "ociVersionMax", "hooks", "mountOptions", "linux", "annotations"),
        "potentiallyUnsafeConfigAnnotations",
    }
    assert set(found["linux"]) == {
        *("namespaces", "capabilities", "cgroup", "seccomp", "apparmor", "selinux", "intelRdt"),
        *("memoryPolicy", "mountExtensions", "netDevices"),
    }
    assert set(found["linux"]["cgroup"]) == {"v1", "v2", "systemd", "systemdUser", "rdma"}
    assert set(found["linux"]["intelRdt"]) == {"enabled", "schemata", "monitoring"}
