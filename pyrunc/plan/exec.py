"""The plan of `exec`: join what the container has, then the steps of a process."""

from __future__ import annotations

from pyrunc.plan import FD_INIT, FD_INIT_ROOT, NO_FD, Plan, opcodes
from pyrunc.plan.namespaces import join_cgroups
from pyrunc.plan.process import before_start, console, execute, keeps_groups, working_directory
from pyrunc.plan.scheduling import affinity
from pyrunc.vocabulary.namespaces import CLONE_NEWNS, CLONE_NEWUSER, NAMESPACES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.plan import Host
    from pyrunc.spec import Object, Spec


def compile_exec(spec: Spec, process: Object, host: Host) -> Plan:
    """``spec``: the configuration remembered at create; ``process``: what to run in it."""
    plan = Plan()
    affinity(plan, process, "initial")
    flags = 0
    rooted = False
    for item in spec.linux.children("namespaces"):
        flag = NAMESPACES.get(item.text("type"), 0)
        flags |= flag
        rooted = rooted or (flag == CLONE_NEWNS and not item.text("path"))
    root = NO_FD if rooted else plan.fd(FD_INIT_ROOT)
    if flags:
        plan.add(opcodes.SETNS, plan.fd(FD_INIT), flags, path="linux.namespaces")
    if not rooted:
        # Only a mount namespace that was made for the container has its root as /.
        plan.add(opcodes.CHROOT, root, path="root.path")
    if flags:
        # A pid namespace takes effect for children only; not being dumpable goes over to the child.
        plan.add(opcodes.FORK)
    # Last, for a fork counts against pids.max, and moving in does not: exec is how one looks into a
    # container that has reached it. By the parent's descriptors: the paths are the container's by now.
    join_cgroups(plan, host, by_parent=bool(flags) or not rooted)
    affinity(plan, process, "final")
    plan.add(opcodes.SETSID)
    if flags & CLONE_NEWUSER:
        plan.add(opcodes.BECOME_ROOT, int(keeps_groups(spec)))
    console(plan, process, bind=0)
    working_directory(plan, process, create=0)
    before_start(plan, process, spec, host)
    plan.add(opcodes.GATE)
    execute(plan, process, host)
    return plan
