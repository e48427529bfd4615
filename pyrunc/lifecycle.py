"""The life of a container: the library's functions, and the order of their stages.

runtime.md, Lifecycle. ``root`` is always the state root (a directory), ``id`` the container's. Everything
raises pyrunc.errors.Error; what was begun is undone when it fails. The stages themselves live next door:
creating (``creation.py``), ending (``destroy.py``), a process in a running container (``execute.py``).
"""

from __future__ import annotations

import posix

from pyrunc import state_directory as states
from pyrunc.errors import Error, NotFound, WrongStatus
from pyrunc.process import OWN_STDIO, SIGKILL, kernel_is, look, open_pidfd, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike
    from typing import Any

    from pyrunc.cgroup.base import Cgroup
    from pyrunc.state_directory import State

_INIT_NAME = b"pyrunc-init"


def create(
    root: str | PathLike[str],
    id: str,
    bundle: str | PathLike[str],
    *,
    console_socket: str = "",
    pid_file: str = "",
    no_pivot: bool = False,
    new_keyring: bool = True,
    preserve_fds: int = 0,
    systemd_cgroup: bool = False,
    rootless: str = "auto",
    pidfd_socket: str = "",
    no_cgroup: bool = False,
    stdio: tuple[int, int, int] = OWN_STDIO,
) -> None:
    """Make the container, all but its program. It waits for ``start``.

    no_cgroup: it stays in its caller's, without limits.
    stdio: the descriptors that its program gets as standard input, output and error.
    """
    from pyrunc.configuration import read_config
    from pyrunc.creation import Options, create_container

    options = Options(
        console_socket=console_socket,
        pid_file=pid_file,
        no_pivot=no_pivot,
        new_keyring=new_keyring,
        preserve_fds=preserve_fds,
        systemd_cgroup=systemd_cgroup,
        pidfd_socket=pidfd_socket,
        rootless=rootless,
        no_cgroup=no_cgroup,
        stdio=stdio,
    )
    create_container(_absolute(root), id, read_config(_absolute(bundle)), options).close()


def start(root: str, id: str) -> None:
    """Run the program of a created container. Returns when execve has worked, and poststart hooks too.

    A program that can't be executed and a failing startContainer or poststart hook are errors of start.
    """
    from pyrunc.starting import start_container

    start_container(root, id)


def run(
    root: str | PathLike[str],
    id: str,
    bundle: str | PathLike[str],
    *,
    console_socket: str = "",
    pid_file: str = "",
    no_pivot: bool = False,
    new_keyring: bool = True,
    preserve_fds: int = 0,
    systemd_cgroup: bool = False,
    rootless: str = "auto",
    pidfd_socket: str = "",
    no_cgroup: bool = False,
    stdio: tuple[int, int, int] = OWN_STDIO,
    detach: bool = False,
    keep: bool = False,
    timeout: float | None = None,
    signals: bool = False,
) -> int:
    """create, start and, unless detached, wait and delete. Returns the exit status of the program.

    timeout: seconds after which it is killed; raises TimedOut then. Whatever else interrupts the wait,
    such as KeyboardInterrupt, ends the container as well.
    signals: those of this process go on to the program, as the command has it. Else they are the caller's,
    and any thread may call.
    """
    from pyrunc.creation import Options
    from pyrunc.running import run_container

    options = Options(
        console_socket=console_socket,
        pid_file=pid_file,
        no_pivot=no_pivot,
        new_keyring=new_keyring,
        preserve_fds=preserve_fds,
        systemd_cgroup=systemd_cgroup,
        pidfd_socket=pidfd_socket,
        rootless=rootless,
        no_cgroup=no_cgroup,
        stdio=stdio,
    )
    return run_container(_absolute(root), id, _absolute(bundle), options, detach, keep, signals, timeout)


def _absolute(path: str | PathLike[str]) -> str:
    """What is remembered must not depend on where we are."""
    text = posix.fspath(path)
    return text if text.startswith("/") else f"{posix.getcwd()}/{text}"


def exec_process(root: str, id: str, args: Sequence[str] = (), **options: Any) -> int:
    """Run another process in a running container. Returns its exit status, 0 when detached.

    options: those of ``execute.execute_process``, such as env, cwd, user, caps, tty, detach, stdio, timeout.
    """
    from pyrunc.execute import execute_process

    return execute_process(root, id, args=args, **options)


def state(root: str, id: str) -> dict[str, Any]:
    """The state of the container (runtime.md, State), with runc's additions."""
    with states.load(root, id) as found:
        return describe(found)


def kill(root: str, id: str, signal: int, all_processes: bool = False) -> None:
    """Send a signal to the container's process, or to all of them; 0 only asks whether it is there.

    A stopped container is an error, but not for ``all_processes``: what it asks for is so already.
    """
    found = states.load(root, id)
    pidfd = -1
    try:
        record = found.record
        status = status_of(found)
        if status in ("created", "running", "paused"):
            pidfd = open_pidfd(record["pid"], record["start_time"])
        # Without a pid namespace of its own, the end of its first process does not end the others.
        everyone = all_processes or (signal == SIGKILL and record.get("shared_pids"))
        reached = everyone and _signal_others(found, signal, record["pid"] if pidfd >= 0 else 0)
        if pidfd >= 0:
            reached = send(pidfd, signal) or reached
        if not (reached or all_processes):
            from pyrunc.explain.statuses import making_hint

            hint = making_hint(id) if status == "creating" else ""
            raise WrongStatus("container not running", code="not-running", subject=id, hint=hint)
        if signal == SIGKILL and _is_frozen(record.get("freezer", "")):
            cgroup_of(found).thaw()
    except PermissionError as error:
        raise Error(
            f"signal {signal} to container {id}: refused",
            code="kill",
            step="kill",
            syscall="pidfd_send_signal",
            errno=error.errno or 0,
        ) from None
    finally:
        if pidfd >= 0:
            posix.close(pidfd)
        found.close()


def delete(root: str, id: str, force: bool = False) -> None:
    """Remove a stopped container and all that create made; ``force`` kills it before."""
    from pyrunc.destroy import destroy, poststop, seize

    try:
        found = seize(root, id) if force else states.load(root, id, lock=True)
    except NotFound:
        if force:
            return
        raise
    with found:
        status = status_of(found)
        if status != "stopped" and not force:
            raise WrongStatus(
                f"cannot delete container {id} that is not stopped: {status}",
                code="not-stopped",
                subject=id,
                hint="kill it before, or delete --force",
            )
        spec = destroy(found)
    poststop(spec, found)


def containers(root: str) -> list[dict[str, Any]]:
    """The states of all containers under a root, each with its ``owner``: who made it, by name or as "#uid".
    One that can't be read has an ``error``.
    """
    found = []
    names = _user_names()
    for id in states.ids(root):
        try:
            container, uid = states.glance(root, id)
            described = describe(container)
            described["owner"] = names.get(uid, f"#{uid}")
            found.append(described)
        except NotFound:
            continue
        except Error as error:
            found.append({"id": id, "status": "unknown", "pid": 0, "error": str(error)})
    return found


def _user_names() -> dict[int, str]:
    """passwd(5) of the host; the first name of an id is the one."""
    names: dict[int, str] = {}
    try:
        lines = states.read_file("/etc/passwd").decode("utf-8", "replace").split("\n")
    except OSError:
        return names
    for line in lines:
        fields = line.split(":")
        if len(fields) > 3 and fields[2].isdecimal():
            names.setdefault(int(fields[2]), fields[0])
    return names


def pause(root: str, id: str) -> None:
    """Freeze all processes of the container."""
    with states.load(root, id, lock=True) as found:
        if status_of(found) not in ("created", "running"):
            raise WrongStatus("container not running", code="not-running", subject=id)
        cgroup_of(found).freeze()


def resume(root: str, id: str) -> None:
    """Let a paused container go on."""
    with states.load(root, id, lock=True) as found:
        if not _is_frozen(found.record.get("freezer", "")) or status_of(found) == "stopped":
            raise WrongStatus("container not paused", code="not-paused", subject=id)
        cgroup_of(found).thaw()


def update(
    root: str, id: str, resources: dict[str, Any], *, l3_cache_schema: str = "", mem_bw_schema: str = ""
) -> None:
    """Change limits; ``resources`` has the form of linux.resources, and only what is given is changed."""
    from pyrunc.updating import update_container

    update_container(root, id, resources, l3_cache_schema, mem_bw_schema)


def stats(root: str, id: str) -> dict[str, Any]:
    """The statistics of a running container, as `events --stats` prints them under "data"."""
    from pyrunc import events

    found: dict[str, Any] = events.stats(root, id)["data"]
    return found


def processes(root: str, id: str) -> list[int]:
    """The pids, of our pid namespace, of all processes in the container's cgroup."""
    with states.load(root, id) as found:
        return cgroup_of(found).processes() if found.record.get("cgroup") else []


def status_of(found: State) -> str:
    """creating, created, running, paused or stopped, from what is true now."""
    record = found.record
    seen = look(record.get("pid", 0), record.get("start_time", 0))
    if seen is None:
        # Without a record it is about to be made, too, or what a killed create has left.
        return (
            "creating" if record.get("status", "creating") == "creating" and _is_locked(found) else "stopped"
        )
    if record["status"] == "creating" and (seen.name == _INIT_NAME or _is_locked(found)):
        return "creating"  # else `run` was killed after the start
    # To read the freezer is a fifth of the time of `list`; since Linux 6.1, S and R are not frozen by v1.
    file = record.get("freezer", "")
    moves = seen.state in (b"S", b"R") and file.endswith(".state") and kernel_is(6, 1)
    if not moves and _is_frozen(file):
        return "paused"
    # `start` killed between the release and the record: then the name of the process tells.
    if record["status"] == "created" and seen.name == _INIT_NAME:
        return "created"
    return "running"


def describe(found: State) -> dict[str, Any]:
    record = found.record
    status = status_of(found)
    described: dict[str, Any] = {
        "ociVersion": record.get("ociVersion", "1.3.0"),
        "id": found.id,
        "pid": 0 if status == "stopped" else record.get("pid", 0),
        "status": status,
        "bundle": record.get("bundle", ""),
        "rootfs": record.get("rootfs", ""),
        "created": record.get("created", ""),
    }
    if record.get("annotations"):
        described["annotations"] = record["annotations"]
    described["owner"] = ""
    return described


def cgroup_of(found: State) -> Cgroup:
    from pyrunc.cgroup import restore

    if "cgroup" not in found.record:  # its create has just begun, or was killed
        raise WrongStatus("container not running", code="not-running", subject=found.id)
    return restore(found.record["cgroup"])


def explain_death(error: BaseException, found: State) -> None:
    """Of an init that ended without a word: what its cgroup knows, while that is still there."""
    if isinstance(error, Error) and error.code == "init-vanished":
        from pyrunc.explain import examine_death

        examine_death(error, cgroup_of(found))


def _is_frozen(file: str) -> bool:
    """Or about to be: the word of cgroup v1, or the number of v2, in the freezer's file."""
    if not file:
        return False
    try:
        return states.read_file(file).strip() in (b"FROZEN", b"FREEZING", b"1")
    except OSError:
        return False


def _signal_others(found: State, signal: int, first: int) -> bool:
    """Every process in the cgroup but the ``first``; True when there was one.

    A pidfd is taken of each, then the list is read again: who stands in both is the one that the pidfd is of,
    or has ended. So a pid that was used again is never hit.
    """
    if not found.record.get("cgroup"):
        return False
    cgroup = cgroup_of(found)
    held: dict[int, int] = {}
    reached, refused = False, None
    try:
        for pid in cgroup.processes():
            if pid not in (0, first):
                held[pid] = open_pidfd(pid)
        for pid in cgroup.processes():
            if held.get(pid, -1) >= 0:
                try:
                    reached = send(held[pid], signal) or reached
                except PermissionError as error:
                    refused = error  # the others get it all the same
    finally:
        for pidfd in held.values():
            if pidfd >= 0:
                posix.close(pidfd)
    if refused:
        raise refused
    return reached


def _is_locked(found: State) -> bool:
    """Whether another runtime is at work on the container."""
    import fcntl

    if found.locked:
        return False  # by us: to ask for a shared lock would be to give the exclusive one away
    if found.fd < 0:  # glanced at
        with states.load(found.root, found.id) as opened:
            return _is_locked(opened)
    try:
        fcntl.flock(found.fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


__all__ = [
    "containers",
    "create",
    "delete",
    "exec_process",
    "kill",
    "pause",
    "processes",
    "resume",
    "run",
    "start",
    "state",
    "stats",
    "update",
]
