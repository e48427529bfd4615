"""What `events` tells: statistics of a container, and every kill for want of memory, until its end."""

from __future__ import annotations

import posix
import select
import time
from collections.abc import Iterator
from typing import Any

from pyrunc import state_directory as states
from pyrunc.errors import WrongStatus
from pyrunc.lifecycle import cgroup_of, status_of
from pyrunc.process import open_pidfd


def stats(root: str, id: str) -> dict[str, Any]:
    """One event of statistics. Raises Error: NotFound, WrongStatus for a container that has ended."""
    state = _running(root, id)
    try:
        return {"type": "stats", "id": id, "data": cgroup_of(state).stats()}
    finally:
        state.close()


def watch(root: str, id: str, interval: float) -> Iterator[dict[str, Any]]:
    """Statistics each ``interval`` seconds, and {"type": "oom"} for each kill, while the container runs."""
    state = _running(root, id)
    cgroup = cgroup_of(state)
    pidfd = open_pidfd(state.record["pid"], state.record["start_time"])
    state.close()
    if pidfd < 0:
        return
    oom = None
    try:
        oom = cgroup.watch_oom()
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if oom.fd >= 0:
            poll.register(oom.fd, oom.mask)
        due = time.monotonic() + interval
        while True:
            left = max(due - time.monotonic(), 0)
            ready = [fd for fd, _ in poll.poll(left * 1000)]
            if oom.fd in ready and oom.killed():
                yield {"type": "oom", "id": id}
            if pidfd in ready:
                return
            if not ready:
                yield {"type": "stats", "id": id, "data": cgroup.stats()}
                due += interval
    finally:
        if oom:
            oom.close()
        posix.close(pidfd)


def _running(root: str, id: str) -> states.State:
    state = states.load(root, id)
    if status_of(state) not in ("created", "running", "paused"):
        state.close()
        hint = "statistics are those of its cgroup, which ends with it"
        raise WrongStatus(f"container {id} is not running", code="not-running", subject=id, hint=hint)
    return state
