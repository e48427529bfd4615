"""What the compiler makes of a mount where this host can't show it."""

from __future__ import annotations

from typing import Any

import pytest

from pyrunc.plan import Host, Plan, opcodes
from pyrunc.plan.mounts import mounts
from pyrunc.plan.namespaces import Namespaces
from pyrunc.spec import Object, Spec

LABEL = "system_u:object_r:container_file_t:s0:c1,c2"


def parameters(kind: str, *options: str, label: str = LABEL) -> list[str]:
    """The parameters of the one mount of a configuration, on a host that has SELinux."""
    entry = {"destination": "/t", "type": kind, "source": kind, "options": list(options)}
    document: dict[str, Any] = {"mounts": [entry], "linux": {"namespaces": [{"type": "mount"}]}}
    spec = Spec.__new__(Spec)
    Object.__init__(spec, document, "")
    host = Host("id", "/bundle", "/bundle/rootfs")
    host.mount_label = label
    plan = Plan()
    mounts(plan, spec, host, Namespaces(spec))
    (step,) = [step for step in plan.steps if step.op == opcodes.MOUNT]
    found = step.arguments[2]
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
def test_no_label_without_selinux() -> None:
    assert parameters("tmpfs", label="") == []
