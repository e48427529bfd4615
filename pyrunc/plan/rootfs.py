"""The root filesystem: where it is attached, how it becomes /, what is read-only at the end."""

from __future__ import annotations

from pyrunc.plan import FD_TREE_RECURSIVE, NO_FD, opcodes
from pyrunc.plan.process import keeps_groups
from pyrunc.vocabulary.mount_options import MS_PRIVATE, MS_REC, MS_SHARED, MS_SLAVE, MS_UNBINDABLE
from pyrunc.vocabulary.namespaces import CLONE_NEWIPC, CLONE_NEWNS, CLONE_NEWUSER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.plan import Host, Plan
    from pyrunc.plan.namespaces import Namespaces
    from pyrunc.spec import Spec

_ROOT_PROPAGATION = {
    "": 0,
    "private": MS_PRIVATE,
    "slave": MS_SLAVE,
    "shared": MS_SHARED,
    "unbindable": MS_UNBINDABLE,
    "rprivate": MS_PRIVATE,
    "rslave": MS_SLAVE,
    "rshared": MS_SHARED,
    "runbindable": MS_UNBINDABLE,
}


def old_tree(plan: Plan, spec: Spec, host: Host, namespaces: Namespaces) -> None:
    """Cut the new mount namespace off from the host's, and attach the rootfs in it."""
    root = spec.child("root")
    if not root.text("path"):
        raise root.refuse("path", "missing")
    propagation = _ROOT_PROPAGATION.get(spec.linux.text("rootfsPropagation"))
    if propagation is None:
        raise spec.linux.refuse("rootfsPropagation")
    if namespaces.new & CLONE_NEWNS:
        # What is mounted on the host later may come in (slave), never the other way round.
        old = MS_PRIVATE if propagation == MS_PRIVATE else MS_SLAVE
        plan.add(opcodes.PROPAGATE, old | MS_REC, path="linux.rootfsPropagation")
        tree = NO_FD  # init copies it, so that the path is resolved once
    else:
        if not namespaces.has(CLONE_NEWNS):  # else the mount is not where the runtime is
            plan.host_mounts.append(host.rootfs)
        tree = plan.fd(FD_TREE_RECURSIVE, host.rootfs, "root.path")
    plan.add(opcodes.ROOTFS, tree, host.rootfs, path="root.path")
    if namespaces.has(CLONE_NEWUSER):
        plan.add(opcodes.BECOME_ROOT, int(keeps_groups(spec)), path="linux.uidMappings")
        if namespaces.new & CLONE_NEWIPC:
            plan.add(opcodes.UNSHARE, CLONE_NEWIPC, path="linux.namespaces")


def pivot(plan: Plan, spec: Spec, host: Host, namespaces: Namespaces) -> None:
    """Make the rootfs the root directory, and the old tree unreachable."""
    if not namespaces.new & CLONE_NEWNS:
        kind = opcodes.PIVOT_CHROOT
    elif host.no_pivot:
        kind = opcodes.PIVOT_MOVE
    else:
        kind = opcodes.PIVOT_ROOT
    plan.add(opcodes.PIVOT, kind, path="root.path")
    propagation = _ROOT_PROPAGATION[spec.linux.text("rootfsPropagation")]
    if propagation in (MS_SHARED, MS_UNBINDABLE):
        plan.add(opcodes.ROOT_PROPAGATION, propagation, path="linux.rootfsPropagation")


def root_readonly(plan: Plan, spec: Spec) -> None:
    """root.readonly comes last: mount points and the working directory are made before."""
    if spec.child("root").flag("readonly"):
        plan.add(opcodes.ROOT_READONLY, path="root.readonly")
