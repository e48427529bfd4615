"""`exec`: another process in a running container, with the configuration remembered at create."""

from __future__ import annotations

import errno
import posix

from pyrunc import accept, timeline
from pyrunc import pid_file as pid_files
from pyrunc import state_directory as states
from pyrunc.configuration import config_error, seccomp_filter
from pyrunc.creation import set_oom_score
from pyrunc.descriptors import check_preserved, check_terminal, connect_console, send_pidfd
from pyrunc.errors import Error, Usage, WrongStatus
from pyrunc.launch import Init, spawn
from pyrunc.lifecycle import cgroup_of, status_of
from pyrunc.opening import follow, open_requests
from pyrunc.plan import Host
from pyrunc.plan.exec import compile_exec
from pyrunc.process import OWN_STDIO, leave
from pyrunc.spec import ID_MAX, Object, Refused, Spec, decimal, drop_null, parse_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from pyrunc.foreground import Foreground
    from pyrunc.plan import Plan
    from pyrunc.state_directory import State


def execute_process(
    root: str,
    id: str,
    *,
    process: bytes | None = None,
    args: Sequence[str] = (),
    env: Sequence[str] = (),
    cwd: str = "",
    user: str = "",
    additional_gids: Sequence[int] = (),
    caps: Sequence[str] = (),
    no_new_privs: bool = False,
    tty: bool = False,
    detach: bool = False,
    pid_file: str = "",
    console_socket: str = "",
    preserve_fds: int = 0,
    apparmor: str = "",
    process_label: str = "",
    cgroup: list[str] | None = None,
    ignore_paused: bool = False,
    pidfd_socket: str = "",
    stdio: tuple[int, int, int] = OWN_STDIO,
    timeout: float | None = None,
    signals: bool = False,
) -> int:
    """Run ``process`` (the text of a process.json), or the container's own process changed by the rest.

    env: each NAME=VALUE. user: UID[:GID]; without a GID it is that of the container's process.
    stdio, timeout, signals: as in ``lifecycle.run``; the container goes on when the time is over.
    cgroup: sub-cgroups of the container's, each ``[CONTROLLER[,CONTROLLER...]:]PATH``; they must exist.
    Returns the exit status in the foreground, 0 when detached.
    """
    check_preserved(preserve_fds)
    state = states.load(root, id)
    try:
        _refuse_status(state, ignore_paused)
        spec = state.config()
        spec.bundle = state.record["bundle"]
        if process is not None:
            wanted = _parsed(process)
            for key in _INHERITED:
                if key not in wanted and key in spec.process:
                    wanted.data[key] = spec.process.data[key]
        else:
            wanted = Object(dict(spec.process.data), "process")
            _override(wanted.data, list(args), list(env), cwd, user, list(additional_gids), list(caps))
            wanted.data["terminal"] = tty
            for key, value in (("apparmorProfile", apparmor), ("selinuxLabel", process_label)):
                if value:
                    wanted.data[key] = value
            if no_new_privs:
                wanted.data["noNewPrivileges"] = True
        if tty:
            wanted.data["terminal"] = True
        execution = _Execution(state, spec, wanted, preserve_fds, _sub_cgroups(cgroup or []), stdio)
        foreground = None
        if not detach:
            from pyrunc.foreground import Foreground

            foreground = Foreground(signals)
        return execution.go(foreground, timeout, pid_file, console_socket, pidfd_socket)
    finally:
        state.close()


def _refuse_status(state: State, ignore_paused: bool) -> None:
    status = status_of(state)
    if status in ("created", "running") or (status == "paused" and ignore_paused):
        return
    text = {
        "stopped": "cannot exec in a stopped container",
        "paused": "cannot exec in a paused container (use --ignore-paused to override)",
    }.get(status, "container not running")
    from pyrunc.explain.statuses import exec_hint

    raise WrongStatus(text, code="not-running", subject=state.id, hint=exec_hint(state.id, status))


# What a process file may leave to the container's configuration, as runc has it.
_INHERITED = ("capabilities", "rlimits", "apparmorProfile", "selinuxLabel")


class _Execution:
    __slots__ = ("state", "spec", "process", "preserve", "below", "stdio")

    def __init__(
        self,
        state: State,
        spec: Spec,
        process: Object,
        preserve: int,
        below: dict[str, str],
        stdio: tuple[int, int, int],
    ) -> None:
        self.state = state
        self.spec = spec
        self.process = process
        self.preserve = preserve
        self.below = below
        self.stdio = stdio

    def go(
        self,
        foreground: Foreground | None,
        timeout: float | None,
        pid_file: str,
        console_socket: str,
        pidfd_socket: str,
    ) -> int:
        terminal = self.process.flag("terminal")
        check_terminal(terminal, console_socket, foreground is not None)
        ours = None
        console = -1
        if console_socket:
            console = connect_console(console_socket)
        elif terminal:
            from pyrunc.launch import stream_pair

            ours, theirs = stream_pair()
            console = theirs.detach()
        master = -1
        init = None
        try:
            try:
                init = self._spawn_in_cgroup(console)
            finally:
                if console >= 0:
                    posix.close(console)
            self._start(init, pid_file, pidfd_socket)
            if foreground is None:
                leave(init.pid)
                return 0
            if ours:
                from pyrunc.foreground import receive_master

                master = receive_master(ours)
            return foreground.wait(init.pid, init.pidfd, master, timeout)
        except BaseException:
            if init:
                init.end()
            raise
        finally:
            if init:
                init.close()
            if ours:
                ours.close()
            if master >= 0:
                posix.close(master)

    def _spawn_in_cgroup(self, console: int) -> Init:
        """Made in the cgroup where that can be; where pids.max is reached, moved in."""
        if not cgroup_of(self.state).clones({}):
            return self._spawn(console, by_clone=False)
        try:
            return self._spawn(console, by_clone=True)
        except Error as error:
            if error.errno != errno.EAGAIN:
                raise
            return self._spawn(console, by_clone=False)

    def _start(self, init: Init, pid_file: str, pidfd_socket: str) -> None:
        cgroup_of(self.state).attach(init.pid, self.below, self.state.record["pid"])
        self._oom_score(init)
        if "intelRdt" in self.spec.linux:
            from pyrunc.resctrl import join

            join(self.state.record["resctrl_groups"], init.pid)
        if pid_file:
            pid_files.write(pid_file, init.pid)
        try:
            if pidfd_socket:
                send_pidfd(pidfd_socket, init.pidfd, b"setns")
            init.start(self._agent(init.pid) if init.plan.notifies else posix.close)
        except BaseException:
            if pid_file:
                pid_files.remove(pid_file)
            raise
        timeline.started()

    def _agent(self, pid: int) -> Callable[[int], None]:
        from pyrunc.listener import receiver

        return receiver(self.spec, self.state, pid)

    def _spawn(self, console: int, by_clone: bool) -> Init:
        """A process that waits for its start."""
        record = self.state.record
        cgroup = cgroup_of(self.state)
        pidfd = -1
        timeline.phase("compile the plan")
        try:
            plan = self._plan([] if by_clone else cgroup.join_files(self.below, record["pid"]))
            timeline.phase("open what the plan asks for")
            pidfd = follow(record["pid"], record["start_time"])
            with open_requests(plan, console, pidfd) as opened:
                entrance = cgroup.clone_fd(self.below, record["pid"]) if by_clone else -1
                init = spawn(plan, opened, clone_fd=entrance, preserve=self.preserve, stdio=self.stdio)
        except Refused as refused:
            raise config_error(self.spec.source, record["bundle"], refused) from None
        finally:
            if pidfd >= 0:
                posix.close(pidfd)
        timeline.phase("wait for pyrunc-init")
        try:
            init.until_ready(_no_stage, _nothing)
        except BaseException:
            init.end()
            init.close()
            raise
        return init

    def _plan(self, joins: list[str]) -> Plan:
        record = self.state.record
        host = Host(self.state.id, record["bundle"], record["rootfs"])
        host.cgroup_joins = joins
        host.new_keyring = record["new_keyring"]
        host.seccomp = seccomp_filter(self.spec, self.state.root)
        return compile_exec(self.spec, self.process, host)

    def _oom_score(self, init: Init) -> None:
        if "oomScoreAdj" in self.process:
            set_oom_score(init.pid, self.process.number("oomScoreAdj", 0, -1000, 1000))


def _sub_cgroups(given: list[str]) -> dict[str, str]:
    """Controller ("" for all of them) to a path below the container's cgroup."""
    found = {}
    for text in given:
        controllers, colon, path = text.rpartition(":")
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if ".." in parts or (colon and not controllers):
            raise Error(
                f"{text!r} is not a sub-cgroup",
                code="cgroup",
                step="cgroup",
                subject=text,
                hint="--cgroup [CONTROLLER[,CONTROLLER...]:]PATH, with a PATH below the container's cgroup",
            )
        for controller in controllers.split(","):
            found[controller] = "".join([f"/{part}" for part in parts])
    return found


def _parsed(text: bytes) -> Object:
    try:
        value = parse_json(text.decode("utf-8"))
        if type(value) is not dict:
            raise Refused("process", "not an object")
        drop_null(value)
        object = Object(value, "process")
        accept.process(object, text)
        return object
    except (Refused, UnicodeDecodeError):
        from pyrunc.cli.main import enable_site
        from pyrunc.errors import ConfigError

        enable_site()
        from pyrunc.validate import process_faults

        raise ConfigError("the process file is refused", process_faults(text)) from None


def _override(
    data: dict[str, Any],
    args: list[str],
    env: list[str],
    cwd: str,
    user: str,
    additional_gids: list[int],
    caps: list[str],
) -> None:
    """The options of the command line over the container's own process."""
    for text in env:
        if "=" not in text[1:]:
            hint = "--env NAME=VALUE, with a name and a `=`"
            raise Usage(f"{text!r} is no environment variable", code="usage", subject=text, hint=hint)
    data["args"] = args
    data["env"] = (data.get("env") or []) + env
    if cwd:
        data["cwd"] = cwd
    owner = dict(data.get("user") or {})
    if user:
        uid, colon, gid = user.partition(":")
        owner["uid"] = _id(uid)
        if colon:
            owner["gid"] = _id(gid)
    if additional_gids:
        owner["additionalGids"] = (owner.get("additionalGids") or []) + additional_gids
    data["user"] = owner
    if caps:
        sets = dict(data.get("capabilities") or {})
        for key in ("bounding", "effective", "permitted"):
            sets[key] = (sets.get(key) or []) + caps
        data["capabilities"] = sets


def _id(text: str) -> int:
    number = decimal(text, ID_MAX)
    if number is None:
        raise Error(
            f"{text!r} is not a user or group id",
            code="user-invalid",
            step="exec",
            subject=text,
            hint="ids are numbers: --user UID[:GID]",
        )
    return number


def _no_stage(stage: int) -> None:
    raise Error(f"unexpected stage {stage}", code="protocol")


def _nothing() -> None:
    """exec keeps no record of its process."""
