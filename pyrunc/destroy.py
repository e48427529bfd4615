"""Undoing a container: what `delete` does, and every failure of create and start."""

from __future__ import annotations

import posix
import time

from pyrunc import pid_file
from pyrunc import state_directory as states
from pyrunc.errors import Error
from pyrunc.process import SIGKILL, open_pidfd, send, wait_end
from pyrunc.state_directory import read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.cgroup.base import Cgroup
    from pyrunc.spec import Spec
    from pyrunc.state_directory import State

_WAIT = 10_000  # milliseconds
_PAUSE = 0.02  # seconds


def seize(root: str, id: str) -> State:
    """The locked state, for `delete --force`. A runtime that is at work on the container may be so as long as
    a hook is: what it waits for ends with the container's process. Raises Error: "busy".
    """
    end = time.monotonic() + _WAIT / 1000
    while True:
        try:
            return states.load(root, id, lock=True, damaged=True, wait=False)
        except Error as error:
            if error.code != "busy" or time.monotonic() > end:
                raise
        state = states.load(root, id, damaged=True)
        pidfd = open_pidfd(state.record.get("pid", 0), state.record.get("start_time", 0))
        state.close()
        if pidfd >= 0:
            send(pidfd, SIGKILL)
            posix.close(pidfd)
        time.sleep(_PAUSE)


def destroy(state: State, spec: Spec | None = None) -> Spec | None:
    """Kill what lives, remove what the record names. Returns the configuration for the poststop hooks:
    ``spec``, or else what is remembered of it.
    """
    record = state.record
    _end_init(record)
    if record.get("cgroup"):
        from pyrunc.cgroup import restore

        _remove_cgroup(restore(record["cgroup"]))
    if record.get("resctrl"):
        from pyrunc.resctrl import remove

        remove(record["resctrl"])
    mounts = record.get("mounts", [])
    for path, under in zip(mounts, record.get("under", [-1] * len(mounts)), strict=False):
        _uncover(path, under)
    if record.get("temporary"):
        pid_file.remove(record["temporary"])
    if spec is None:
        spec = remembered(state)
    state.remove()
    return spec


def undo(state: State, spec: Spec | None = None) -> None:
    """destroy and poststop after a failure, which is the news: what else fails is a warning. The record stays
    then, for `delete --force` and `gc`. Closes the state.
    """
    try:
        state.lock()
        if state.gone():
            return  # somebody has ended it meanwhile
        spec = destroy(state, spec)
    except (Error, OSError) as error:
        from pyrunc.cli.report import warn

        warn(f"not all could be undone: {error}")
    finally:
        state.close()
    poststop(spec, state)


def _remove_cgroup(cgroup: Cgroup) -> None:
    """An exec that was under way may still join after the killing; once the cgroup is gone, none can."""
    for last in (False, False, True):
        if cgroup.processes():
            cgroup.kill_all()
        try:
            return cgroup.remove()
        except Error:
            if last or not cgroup.processes():
                raise


def remembered(state: State) -> Spec | None:
    """The configuration as it was at create."""
    try:
        return state.config()
    except Error:
        return None


def poststop(spec: Spec | None, state: State) -> None:
    """A failing poststop hook is a warning; the rest run (runtime.md, step 13)."""
    if spec is None or not spec.child("hooks").children("poststop"):
        return
    from pyrunc.cli.report import fact, warn
    from pyrunc.hooks import failures

    bundle = state.record.get("bundle", "")
    for error in failures(spec, "poststop", state.id, "stopped", 0, bundle):
        warn(fact(error))


def _end_init(record: dict[str, Any]) -> None:
    pid = record.get("pid", 0)
    pidfd = open_pidfd(pid, record.get("start_time", 0))
    if pidfd < 0:
        return
    send(pidfd, SIGKILL)
    _thaw(record)
    ended = wait_end(pidfd, _WAIT)
    posix.close(pidfd)
    if not ended:
        raise Error(
            f"the container's process {pid} does not end",
            code="undead",
            step="kill",
            subject=str(pid),
            hint=f"it is blocked in the kernel: see /proc/{pid}/stack",
        )
    _reap(pid)


def _thaw(record: dict[str, Any]) -> None:
    if record.get("cgroup"):
        from pyrunc.cgroup import restore

        cgroup = restore(record["cgroup"])
        if cgroup.frozen():
            cgroup.thaw()


def _reap(pid: int) -> None:
    try:
        posix.waitpid(pid, posix.WNOHANG)
    except ChildProcessError:
        pass


def mount_id(path: str) -> int:
    """The mount that a path leads to (proc_pid_fdinfo(5), mnt_id); 0 where it leads nowhere."""
    try:
        fd = posix.open(path, posix.O_PATH | posix.O_CLOEXEC)
    except OSError:
        return 0
    try:
        return int(read_file(f"/proc/self/fdinfo/{fd}").partition(b"\nmnt_id:\t")[2].split()[0])
    finally:
        posix.close(fd)


def _uncover(path: str, under: int) -> None:
    """Take away the rootfs and what was mounted on it; what was there before, ``under``, stays."""
    from pyrunc._native.load import clone

    while mount_id(path) != under:
        failed = clone().lib.pyrunc_detach(path.encode("utf-8", "surrogateescape"))
        if failed or under < 0:  # not known what was there
            return
