"""`update`: other limits for a container that is there."""

from __future__ import annotations

import posix

from pyrunc import state_directory as states
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
    """Write the limits that are given; what is absent or zero stays as it is, and so do the devices."""
    state = states.load(root, id, lock=True)
    try:
        if status_of(state) in ("creating", "stopped"):
            raise WrongStatus("container not running", code="not-running", subject=id)
        cgroup_of(state).update(resources)
        if l3_cache_schema or mem_bw_schema:
            _set_schemata(state, (l3_cache_schema, mem_bw_schema))
    finally:
        state.close()


def _set_schemata(state: State, lines: tuple[str, ...]) -> None:
    """resctrl: the group of linux.intelRdt.closID, else that of the container's id."""
    from pyrunc.destroy import remembered

    spec = remembered(state)
    name = spec.linux.child("intelRdt").text("closID") if spec else ""
    file = f"{_RESCTRL}/{name or state.id}/schemata"
    try:
        for line in lines:
            if line:
                fd = posix.open(file, posix.O_WRONLY | posix.O_CLOEXEC)
                try:
                    posix.write(fd, line.encode() + b"\n")
                finally:
                    posix.close(fd)
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
