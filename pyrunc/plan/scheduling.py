"""How the process is scheduled: process.scheduler, process.ioPriority, linux.memoryPolicy."""

from __future__ import annotations

from pyrunc.plan import opcodes
from pyrunc.spec import U64, number_mask
from pyrunc.vocabulary.scheduling import (
    IO_CLASSES,
    MEMORY_FLAGS,
    MEMORY_MODES,
    POLICIES,
    SCHEDULER_FLAGS,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.plan import Plan
    from pyrunc.spec import Object, Spec

NODES = 1024  # the largest mask of memory nodes that set_mempolicy(2) is given
CPUS = 8192  # of processors, for sched_setaffinity(2): the most that Linux can be built for on x86


def scheduling(plan: Plan, process: Object, spec: Spec) -> None:
    """Set with the parent's privileges, before the change of user."""
    _scheduler(plan, process.child("scheduler"))
    _io_priority(plan, process.child("ioPriority"))
    _memory_policy(plan, spec.linux.child("memoryPolicy"))


def _scheduler(plan: Plan, scheduler: Object) -> None:
    if not scheduler.data:
        return
    policy = POLICIES.get(scheduler.text("policy"))
    if policy is None:
        raise scheduler.refuse("policy", "unknown")
    plan.add(
        opcodes.SCHEDULER,
        policy,
        scheduler.number("nice", 0, -20, 19),
        scheduler.number("priority", 0, 0, 99),
        _flags(scheduler, SCHEDULER_FLAGS),
        scheduler.number("runtime", 0, 0, U64),
        scheduler.number("deadline", 0, 0, U64),
        scheduler.number("period", 0, 0, U64),
        path=scheduler.path,
    )


def _io_priority(plan: Plan, priority: Object) -> None:
    if not priority.data:
        return
    kind = IO_CLASSES.get(priority.text("class"))
    if kind is None:
        raise priority.refuse("class", "unknown")
    level = priority.number("priority", 0, 0, 7)
    plan.add(opcodes.IO_PRIORITY, kind << 13 | level, path=priority.path)


def _memory_policy(plan: Plan, policy: Object) -> None:
    if not policy.data:
        return
    mode = MEMORY_MODES.get(policy.text("mode"))
    if mode is None:
        raise policy.refuse("mode", "unknown")
    mask = _mask(policy, "nodes", NODES)
    packed = mask.to_bytes(NODES // 8, "little") if mask else b""
    plan.add(
        opcodes.MEMORY_POLICY,
        mode | _flags(policy, MEMORY_FLAGS),
        packed,
        NODES if mask else 0,
        path=policy.path,
    )


def affinity(plan: Plan, process: Object, key: str) -> None:
    """process.execCPUAffinity: ``initial`` before a process joins the cgroup, ``final`` after."""
    wanted = process.child("execCPUAffinity")
    mask = _mask(wanted, key, CPUS)
    if mask:
        plan.add(opcodes.AFFINITY, mask.to_bytes(CPUS // 8, "little"), path=wanted.at(key))


def _mask(owner: Object, key: str, limit: int) -> int:
    mask = number_mask(owner.text(key), limit)
    if mask is None:
        raise owner.refuse(key, "not ascending numbers in range")
    return mask


def _flags(owner: Object, known: dict[str, int]) -> int:
    flags = 0
    for name in owner.texts("flags"):
        if name not in known:
            raise owner.refuse("flags", f"unknown flag {name}")
        flags |= known[name]
    return flags
