"""What is hidden from the container, and kernel parameters of its namespaces."""

from __future__ import annotations

from pyrunc.plan import opcodes
from pyrunc.vocabulary.namespaces import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.plan import Host, Plan
    from pyrunc.plan.namespaces import Namespaces
    from pyrunc.spec import Spec

_IPC = (
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
)


_SWAPPED = {ord("."): "/", ord("/"): "."}


def is_of_ipc(name: str) -> bool:
    """Whether a sysctl belongs to an ipc namespace: ipc_namespaces(7)."""
    return name in _IPC or name.startswith("fs.mqueue.")


def sysctl_name(key: str) -> str:
    """The dotted name: the first separator tells the spelling, and the other one is a dot in a part of a name
    (sysctl.d(5)): net/ipv4/conf/eth0.1/forwarding is net.ipv4.conf.eth0/1.forwarding.
    """
    dot, slash = key.find("."), key.find("/")
    return key if slash < 0 or 0 <= dot < slash else key.translate(_SWAPPED)


def sysctl(plan: Plan, spec: Spec, namespaces: Namespaces) -> None:
    """Only parameters of a namespace that the container has: all others are the host's."""
    for key, value in spec.linux.mapping("sysctl").items():
        name = sysctl_name(key)
        path = name.translate(_SWAPPED)
        if is_of_ipc(name):
            needed = CLONE_NEWIPC
        elif name.startswith("net."):
            needed = CLONE_NEWNET
        elif name == "kernel.domainname":
            needed = CLONE_NEWUTS
        elif name.startswith("user."):
            needed = CLONE_NEWUSER
        else:
            needed = 0
        if not needed or not namespaces.has(needed):
            raise spec.linux.refuse("sysctl", f"{key} is not a parameter of the container's own")
        for request in plan.fds:
            if request.nstype == needed:
                request.written = key
        if ".." in path.split("/"):
            raise spec.linux.refuse("sysctl", "'..' in a name")
        plan.add(opcodes.SYSCTL, path, value, path=f"linux.sysctl.{key}")


def hidden_paths(plan: Plan, spec: Spec, host: Host, namespaces: Namespaces) -> None:
    """linux.readonlyPaths, then linux.maskedPaths: a mask hides what is below it too."""
    label = f"context={host.mount_label}" if host.mount_label else ""
    for key, op in (("readonlyPaths", opcodes.READONLY), ("maskedPaths", opcodes.MASK)):
        for index, path in enumerate(spec.linux.texts(key)):
            if path[:1] != "/":
                raise spec.linux.refuse(f"{key}[{index}]", "not absolute")
            if not namespaces.new & CLONE_NEWNS:
                raise spec.linux.refuse(key, "needs a mount namespace")
            more = (label,) if op == opcodes.MASK else ()
            plan.add(op, path, *more, path=f"linux.{key}[{index}]")
