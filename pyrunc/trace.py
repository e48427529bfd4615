"""``--trace FILE``: a timeline of all that the runtime and pyrunc-init do, for Perfetto and chrome://tracing.

The format is the JSON Object Format of Chrome's trace events: "X" is an event with its duration, in
microseconds. pyrunc-init tells when each of its steps begins, by a message that it sends only if the plan (or
START) asks for it.
"""

from __future__ import annotations

import posix
import time

from pyrunc import timeline
from pyrunc.cli import json_text, report
from pyrunc.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyrunc.cli.parse import Parsed
    from pyrunc.plan import Plan

_RUNTIME, _INIT = 1, 2  # the two tracks


class _Span:
    """Something that began (CLOCK_REALTIME, nanoseconds); it ends when the next one of its track begins."""

    __slots__ = ("track", "name", "began", "ended", "arguments")

    def __init__(self, track: int, name: str, began: int, arguments: dict[str, Any]) -> None:
        self.track = track
        self.name = name
        self.began = began
        self.ended = 0
        self.arguments = arguments


class Recorder:
    """Records one verb. ``plan``: whose steps pyrunc-init tells of; whoever starts it sets it."""

    __slots__ = ("title", "fd", "zero", "spans", "open", "plan")

    def __init__(self, file: str, title: str) -> None:
        flags = posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_CLOEXEC
        try:
            self.fd = posix.open(file, flags, 0o644)
        except OSError as error:
            raise report.from_os_error(f"open trace file {file}", error, code="trace") from error
        self.title = title
        self.zero = time.time_ns()
        self.spans: list[_Span] = []
        self.open: dict[int, _Span] = {}
        self.plan: Plan | None = None

    def phase(self, name: str, path: str) -> None:
        self._begin(_RUNTIME, name, time.time_ns(), {"path": path} if path else {})

    def step(self, index: int, began: int) -> None:
        """pyrunc-init begins a step. What it does is told at the end: here it would take time."""
        self._begin(_INIT, "", began, {"step": index})

    def finish(self, failure: str = "") -> None:
        """Write the file; what comes later is not recorded."""
        if self.fd < 0:
            return
        now = time.time_ns()
        if failure:
            last = self.open.get(_INIT) or self.open.get(_RUNTIME)
            if last is not None:
                last.arguments["failed"] = failure
        for track in (_RUNTIME, _INIT):
            self._end(track, now)
        report.write(self.fd, json_text.dump(self._document()) + "\n")
        posix.close(self.fd)
        self.fd = -1
        timeline.recorder = None

    def _begin(self, track: int, name: str, began: int, arguments: dict[str, Any]) -> None:
        self._end(track, began)
        span = _Span(track, name, began, arguments)
        self.open[track] = span
        self.spans.append(span)

    def _end(self, track: int, now: int) -> None:
        span = self.open.pop(track, None)
        if span is not None:
            span.ended = now

    def _explain(self, span: _Span) -> None:
        """The name and the arguments of a step."""
        from pyrunc.step_text import arguments

        index = span.arguments["step"]
        if self.plan is None or index >= len(self.plan.steps):
            return
        step = self.plan.steps[index]
        span.name = step.name
        span.arguments.update(arguments(self.plan, step))
        if step.path:
            span.arguments["path"] = step.path

    def _document(self) -> dict[str, Any]:
        pid = posix.getpid()
        events: list[dict[str, Any]] = [
            {"name": "process_name", "ph": "M", "pid": pid, "args": {"name": self.title}},
            {"name": "thread_name", "ph": "M", "pid": pid, "tid": _RUNTIME, "args": {"name": "runtime"}},
            {"name": "thread_name", "ph": "M", "pid": pid, "tid": _INIT, "args": {"name": "pyrunc-init"}},
        ]
        for span in self.spans:
            if span.track == _INIT:
                self._explain(span)
            events.append(
                {
                    "name": span.name,
                    "cat": "init" if span.track == _INIT else "runtime",
                    "ph": "X",
                    "ts": (span.began - self.zero) / 1000,
                    "dur": max(0, span.ended - span.began) / 1000,
                    "pid": pid,
                    "tid": span.track,
                    "args": span.arguments,
                }
            )
        return {"traceEvents": events, "displayTimeUnit": "ns"}


def traced(verb: Callable[[str, Parsed], int], root: str, parsed: Parsed) -> int:
    """Run a verb of the command line and record it. Raises Error if the file can't be opened."""
    recorder = timeline.recorder = Recorder(parsed.options["trace"], f"pyrunc {parsed.verb}")
    failure = ""
    try:
        return verb(root, parsed)
    except Error as error:
        failure = report.fact(error)
        raise
    finally:
        recorder.finish(failure)
