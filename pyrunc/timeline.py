"""Where a trace is told what happens. Without ``--trace`` there is no recorder, and no more is loaded."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.plan import Plan
    from pyrunc.trace import Recorder

recorder: Recorder | None = None


def phase(name: str, path: str = "") -> None:
    """What the runtime does from here on; ``path``: the JSON path that asks for it."""
    if recorder is not None:
        recorder.phase(name, path)


def spawning(plan: Plan) -> None:
    """pyrunc-init is started with this plan."""
    if recorder is not None:
        recorder.plan = plan
        recorder.phase("clone3", "linux.namespaces")


def step(index: int, began: int) -> None:
    """pyrunc-init has said that a step of the plan began, at CLOCK_REALTIME in nanoseconds."""
    if recorder is not None:
        recorder.step(index, began)


def started() -> None:
    """The user's program runs: the trace is complete."""
    if recorder is not None:
        recorder.finish()
