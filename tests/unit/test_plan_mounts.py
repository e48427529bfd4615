"""What the compiler makes of a mount where this host can't show it."""

from __future__ import annotations

from typing import Any

import pytest

from pyrunc.plan import Host, Plan, Step, opcodes
from pyrunc.plan.mounts import mounts
from pyrunc.plan.namespaces import Namespaces
from pyrunc.plan.security import hidden_paths
from pyrunc.spec import Object, Spec

LABEL = "system_u:object_r:container_file_t:s0:c1,c2"


def mount_step(kind: str, *options: str, label: str = LABEL) -> Step:
    """The step of the one mount of a configuration, on a host that has SELinux."""
    entry = {"destination": "/t", "type": kind, "source": kind, "options": list(options)}
    document: dict[str, Any] = {"mounts": [entry], "linux": {"namespaces": [{"type": "mount"}]}}
    spec = Spec.__new__(Spec)
    Object.__init__(spec, document, "")
    host = Host("id", "/bundle", "/bundle/rootfs")
    host.mount_label = label
    plan = Plan()
    mounts(plan, spec, host, Namespaces(spec))
    (step,) = [step for step in plan.steps if step.op == opcodes.MOUNT]
    return step


def parameters(kind: str, *options: str, label: str = LABEL) -> list[str]:
    found = mount_step(kind, *options, label=label).arguments[2]
    assert isinstance(found, list)
    return found


@pytest.mark.spec("linux.mountLabel")
def test_a_label_is_the_context_of_a_file_system() -> None:
    assert parameters("tmpfs", "size=1m") == ["size=1m", f"context={LABEL}"]


@pytest.mark.spec("linux.mountLabel")
@pytest.mark.parametrize("kind", ["proc", "sysfs", "mqueue"])
def test_file_systems_with_labels_of_their_own(kind: str) -> None:
    assert parameters(kind) == []


@pytest.mark.spec("linux.mountLabel")
def test_a_context_that_the_mount_has_stays() -> None:
    assert parameters("tmpfs", "context=mine") == ["context=mine"]


@pytest.mark.spec("linux.mountLabel")
@pytest.mark.parametrize("option", ["context", "defcontext", "rootcontext", "fscontext"])
def test_quotation_marks_are_for_mount_only(option: str) -> None:
    """A label has commas: mount(2) takes it in quotation marks only, fsconfig(2) only without."""
    assert f"{option}={LABEL}" in parameters("tmpfs", f'{option}="{LABEL}"')
    assert f'{option}="{LABEL}"' in parameters("tmpfs", f'{option}="{LABEL}"', "silent")


@pytest.mark.spec("linux.mountLabel")
def test_the_label_of_message_queues_is_no_parameter() -> None:
    assert mount_step("mqueue").arguments[8] == LABEL
    assert mount_step("mqueue", label="").arguments[8] == ""


@pytest.mark.spec("linux.mountLabel")
def test_a_mask_has_the_label() -> None:
    document = {"linux": {"maskedPaths": ["/a"], "readonlyPaths": ["/b"], "namespaces": [{"type": "mount"}]}}
    spec = Spec.__new__(Spec)
    Object.__init__(spec, document, "")
    host = Host("id", "/bundle", "/bundle/rootfs")
    host.mount_label = LABEL
    plan = Plan()
    hidden_paths(plan, spec, host, Namespaces(spec))
    assert [step.arguments for step in plan.steps] == [("/b",), ("/a", f"context={LABEL}")]


@pytest.mark.spec("linux.mountLabel")
def test_no_label_without_selinux() -> None:
    assert parameters("tmpfs", label="") == []
