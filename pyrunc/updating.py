"""`update`: other limits for a container that is there."""

from __future__ import annotations

from pyrunc import state_directory as states
from pyrunc.cgroup.kept import Kept
from pyrunc.errors import Error, WrongStatus
from pyrunc.lifecycle import cgroup_of, status_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.state_directory import State

_RESCTRL = "/sys/fs/resctrl"


def update_container(
    root: str, id: str, resources: dict[str, Any], l3_cache_schema: str = "", mem_bw_schema: str = ""
) -> None:
    """Write the limits that are given; what is absent or zero stays as it is. On v1 the rules for devices
    stay, too: while they are written again, the container would be without any.

    All of them or none: a failure puts back what it finds changed. The record keeps what counts from now on.
    """
    state = states.load(root, id, lock=True)
    try:
        if status_of(state) in ("creating", "stopped"):
            raise WrongStatus("container not running", code="not-running", subject=id)
        before = _limits(state)
        cgroup = cgroup_of(state)
        if cgroup.version == "v2":
            changes = with_swap(resources, before)
        else:
            changes = {key: value for key, value in resources.items() if key != "devices"}
        if cgroup.version == "v2" or cgroup.adopts():  # a scope of systemd
            changes = with_period(changes, before)
        kept = Kept(cgroup.paths().values())
        try:
            cgroup.update(changes)
            if l3_cache_schema or mem_bw_schema:
                _set_schemata(state, (l3_cache_schema, mem_bw_schema))
        except Error:
            kept.put_back()
            raise
        state.record["resources"] = merged(before, resources)
        state.save()
    finally:
        state.close()


def _limits(state: State) -> dict[str, Any]:
    """linux.resources of the configuration, or what an earlier update made of it."""
    from pyrunc.destroy import remembered

    if "resources" in state.record:
        known: dict[str, Any] = state.record["resources"]
        return known
    spec = remembered(state)
    return merged({}, spec.linux.child("resources").data) if spec else {}


_ZERO_COUNTS = ("idle", "burst")


def merged(before: dict[str, Any], resources: dict[str, Any]) -> dict[str, Any]:
    """What counts after an update: as `update` does, zero and empty leave what was there, and devices too."""
    found = dict(before)
    for key, value in resources.items():
        if type(value) is dict:
            found[key] = merged(before.get(key) or {}, value)
        elif key != "devices" and (value or (key in _ZERO_COUNTS and value is not None)):
            found[key] = value
    return found


def with_swap(resources: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """memory.swap is memory and swap together; v2 limits swap alone: so each of the two needs the other."""
    memory, known = resources.get("memory") or {}, before.get("memory") or {}
    limit, swap = memory.get("limit") or 0, memory.get("swap") or 0
    if swap > 0 and not limit and known.get("limit"):
        return {**resources, "memory": {**memory, "limit": known["limit"]}}
    if limit > 0 and not swap and known.get("swap"):
        return {**resources, "memory": {**memory, "swap": known["swap"]}}
    return resources


def with_period(resources: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """A quota counts in each period: v2 and systemd have both in one, so each of the two needs the other."""
    cpu, known = resources.get("cpu") or {}, before.get("cpu") or {}
    added = {}
    for given, other in (("quota", "period"), ("period", "quota")):
        if cpu.get(given) and not cpu.get(other) and known.get(other):
            added[other] = known[other]
    return {**resources, "cpu": {**cpu, **added}} if added else resources


def _set_schemata(state: State, lines: tuple[str, ...]) -> None:
    """resctrl: the group of linux.intelRdt.closID, else that of the container's id.

    In one write: the kernel takes all lines, or none.
    """
    from pyrunc.destroy import remembered

    spec = remembered(state)
    name = spec.linux.child("intelRdt").text("closID") if spec else ""
    file = f"{_RESCTRL}/{name or state.id}/schemata"
    try:
        states.write_file(file, "".join(f"{line}\n" for line in lines if line))
    except OSError as error:
        raise Error(
            f"the schemata of {state.id} can't be set",
            code="resctrl",
            step="update",
            path="linux.intelRdt",
            syscall="write",
            subject=file,
            errno=error.errno or 0,
            hint=f"the CPU needs RDT, resctrl mounted at {_RESCTRL}, and the container linux.intelRdt",
        ) from None
