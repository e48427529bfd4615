"""What to do with a container whose status does not allow the verb."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.state_directory import State


def start_hint(state: State, status: str) -> str:
    """For `start` of a container that is not created."""
    if status == "running":
        return f"{state.id} runs already: kill, delete and create it to run it again"
    if status == "paused":
        return f"pyrunc resume {state.id} lets it go on"
    if status == "creating":
        return making_hint(state.id)
    if state.record.get("status") == "created":
        return _died_before_start(state)
    return f"{state.id} has ended: delete it, and create it again"


def making_hint(id: str) -> str:
    """For a container that another pyrunc is making."""
    return f"another pyrunc is making {id}: wait for it, or delete --force"


def exec_hint(id: str, status: str) -> str:
    """For `exec` in a container that does not run."""
    if status == "paused":
        return f"pyrunc resume {id} lets it go on; exec --ignore-paused waits for that"
    if status == "creating":
        return making_hint(id)
    return f"{id} has ended: start it again, by delete, create and start"


def _died_before_start(state: State) -> str:
    from pyrunc.explain.death import look
    from pyrunc.explain.host import Host
    from pyrunc.lifecycle import cgroup_of

    found = look(cgroup_of(state).paths(), Host())
    if found:
        return f"{found[0]}; {found[3]}"
    return (
        f"its init was killed before start, though not for want of memory: pyrunc delete {state.id}, and see "
        "who kills it"
    )
