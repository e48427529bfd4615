"""Which namespaces are new, which are joined, and in what order a process gets into them."""

from __future__ import annotations

from pyrunc.plan import FD_CGROUP, FD_NAMESPACE, NO_FD, opcodes
from pyrunc.vocabulary.namespaces import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    NAMESPACES,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.plan import Host, Plan
    from pyrunc.spec import Object, Spec


class Namespaces:
    """linux.namespaces: ``new`` are flags of clone(2); ``joined`` is [(flag, path, JSON path)]."""

    __slots__ = ("new", "joined")

    def __init__(self, spec: Spec) -> None:
        self.new = 0
        self.joined: list[tuple[int, str, str]] = []
        seen = 0
        for item in spec.linux.children("namespaces"):
            flag = NAMESPACES.get(item.text("type"), 0)
            if not flag or seen & flag:
                raise item.refuse("type", "unknown or given twice")
            seen |= flag
            path = item.text("path")
            if not path:
                self.new |= flag
            elif path[0] != "/":
                raise item.refuse("path", "not absolute")
            else:
                self.joined.append((flag, path, item.at("path")))

    def has(self, flag: int) -> bool:
        """Whether the container has a namespace of its own or a joined one of that kind."""
        return bool(self.new & flag) or self.joins(flag)

    def joins(self, flag: int) -> bool:
        return any(joined[0] == flag for joined in self.joined)


def join_cgroups(plan: Plan, host: Host, by_parent: bool) -> None:
    """``by_parent``: in a new user namespace init may lack the right to open the files."""
    plan.joins_cgroups = bool(host.cgroup_joins)
    for file in host.cgroup_joins:
        fd = plan.fd(FD_CGROUP, file, "linux.cgroupsPath") if by_parent else NO_FD
        plan.add(opcodes.CGROUP_JOIN, fd, file, path="linux.cgroupsPath")


def enter_namespaces(plan: Plan, spec: Spec, host: Host, namespaces: Namespaces) -> None:
    """From the first instruction of init to a process that is in all its namespaces."""
    _check_maps(spec, namespaces)
    new = namespaces.new
    join_cgroups(plan, host, by_parent=bool(new & CLONE_NEWUSER))
    if host.cgroup_adopts:
        plan.add(opcodes.SYNC, opcodes.STAGE_CGROUP, path="linux.cgroupsPath")
    # These are made by steps of their own: a time namespace needs its offsets before anybody is in
    # it, a cgroup namespace takes the cgroup of its maker as its root, and the message queues of an
    # ipc namespace belong to its maker, who must be the user namespace's root by then.
    at_once = new & ~(CLONE_NEWTIME | CLONE_NEWCGROUP)
    if namespaces.has(CLONE_NEWUSER):
        at_once &= ~CLONE_NEWIPC
    forks = namespaces.joins(CLONE_NEWPID)
    plan.user_namespace = bool(new & CLONE_NEWUSER)
    others = [joined for joined in namespaces.joined if joined[0] != CLONE_NEWUSER]
    user = [joined for joined in namespaces.joined if joined[0] == CLONE_NEWUSER]
    if user or (plan.user_namespace and others):
        # With the host's privilege first into what exists, then into the user namespace; what is
        # new is made from within it, so that it belongs to it.
        for joined in others + user:
            _join(plan, joined)
        if plan.user_namespace:
            plan.add(opcodes.UNSHARE, CLONE_NEWUSER, path="linux.namespaces")
            plan.add(opcodes.SYNC, opcodes.STAGE_IDMAP, path="linux.uidMappings")
        rest = at_once & ~CLONE_NEWUSER
        if rest:
            plan.add(opcodes.UNSHARE, rest, path="linux.namespaces")
        forks = forks or bool(rest & CLONE_NEWPID)
    else:
        plan.clone_flags = at_once
        if plan.user_namespace:
            plan.add(opcodes.SYNC, opcodes.STAGE_IDMAP, path="linux.uidMappings")
        for joined in others:
            _join(plan, joined)
    if new & CLONE_NEWCGROUP:
        plan.add(opcodes.UNSHARE, CLONE_NEWCGROUP, path="linux.namespaces")
    if new & CLONE_NEWTIME:
        plan.add(opcodes.TIME_NAMESPACE, _offsets(spec), path="linux.timeOffsets")
    elif spec.linux.child("timeOffsets").data:
        raise spec.linux.refuse("timeOffsets", "needs a new time namespace")
    if forks:
        plan.add(opcodes.FORK, path="linux.namespaces")
    plan.add(opcodes.SETSID)
    if new & CLONE_NEWNET:
        plan.add(opcodes.LOOPBACK, path="linux.namespaces")


def id_map(owner: Object, key: str) -> str:
    """The text for /proc/PID/uid_map or gid_map: user_namespaces(7). ``owner``: linux, or a mount."""
    lines = []
    for item in owner.children(key):
        inside, outside = item.required_number("containerID"), item.required_number("hostID")
        lines.append(f"{inside} {outside} {item.required_number('size', 1)}\n")
    return "".join(lines)


def _join(plan: Plan, joined: tuple[int, str, str]) -> None:
    flag, path, json_path = joined
    plan.add(opcodes.SETNS, plan.fd(FD_NAMESPACE, path, json_path, flag), flag, path=json_path)


def _check_maps(spec: Spec, namespaces: Namespaces) -> None:
    uids, gids = id_map(spec.linux, "uidMappings"), id_map(spec.linux, "gidMappings")
    if namespaces.new & CLONE_NEWUSER:
        if not uids or not gids:
            raise spec.linux.refuse("uidMappings", "a new user namespace needs mappings")
    elif (uids or gids) and not namespaces.joins(CLONE_NEWUSER):
        raise spec.linux.refuse("uidMappings", "needs a user namespace")


def _offsets(spec: Spec) -> str:
    offsets = spec.linux.child("timeOffsets")
    lines = []
    for clock in offsets.data:
        if clock not in ("boottime", "monotonic"):
            raise offsets.refuse(clock, "unknown clock")
        offset = offsets.child(clock)
        seconds = offset.number("secs", 0, -(2**63), 2**63 - 1)
        lines.append(f"{clock} {seconds} {offset.number('nanosecs')}\n")
    return "".join(lines)
