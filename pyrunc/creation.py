"""Creating a container: the stages of runtime.md's lifecycle, steps 1 to 5.

Each side effect is in the record before it happens, so that a runtime killed at any instruction leaves what
`delete --force` removes.
"""

from __future__ import annotations

import _socket
import errno
import posix
import time

from pyrunc import cgroup as cgroups
from pyrunc import pid_file
from pyrunc import state_directory as states
from pyrunc.cgroup.base import Taken
from pyrunc.cli.report import warn
from pyrunc.configuration import compile_plan, config_error, resctrl_of, rootfs_of
from pyrunc.descriptors import check_preserved, check_terminal, connect_console, send_pidfd
from pyrunc.destroy import mount_id, undo
from pyrunc.errors import Error
from pyrunc.hooks import create_hooks
from pyrunc.launch import Init, spawn
from pyrunc.lifecycle import explain_death
from pyrunc.opening import open_requests
from pyrunc.plan import opcodes
from pyrunc.process import OWN_STDIO, is_rootless
from pyrunc.record import VERSION
from pyrunc.spec import Refused
from pyrunc.timeline import phase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.cgroup.base import Cgroup
    from pyrunc.netdevices import Moved
    from pyrunc.plan import Plan
    from pyrunc.resctrl import Resctrl
    from pyrunc.spec import Spec
    from pyrunc.state_directory import State


class Options:
    """What the caller of create and run may ask for beside the configuration."""

    __slots__ = (
        "console_socket",
        "pid_file",
        "no_pivot",
        "new_keyring",
        "preserve_fds",
        "systemd_cgroup",
        "pidfd_socket",
        "rootless",
        "no_cgroup",
        "stdio",
    )

    def __init__(
        self,
        *,
        console_socket: str = "",
        pid_file: str = "",
        no_pivot: bool = False,
        new_keyring: bool = True,
        preserve_fds: int = 0,
        systemd_cgroup: bool = False,
        pidfd_socket: str = "",
        rootless: str = "auto",
        no_cgroup: bool = False,
        stdio: tuple[int, int, int] = OWN_STDIO,
    ) -> None:
        self.console_socket = console_socket
        self.pid_file = pid_file
        self.no_pivot = no_pivot
        self.new_keyring = new_keyring
        self.preserve_fds = preserve_fds
        self.systemd_cgroup = systemd_cgroup
        self.pidfd_socket = pidfd_socket
        self.rootless = rootless
        self.no_cgroup = no_cgroup
        self.stdio = stdio


class Created:
    """A container that waits for START; ``init.socket`` still leads to it if it is run in one go."""

    __slots__ = ("state", "spec", "init", "pid_file")

    def __init__(self, state: State, spec: Spec, init: Init, pid_file: str) -> None:
        self.state = state
        self.spec = spec
        self.init = init
        self.pid_file = pid_file

    def undo(self) -> None:
        """It could not be started."""
        self.init.end()
        if self.pid_file:
            pid_file.remove(self.pid_file)
        undo(self.state, self.spec)

    def close(self) -> None:
        self.init.close()
        self.state.close()


def create_container(
    root: str, id: str, spec: Spec, options: Options, console: int = -1, direct: bool = False
) -> Created:
    """``console``: a connected socket that gets the terminal's master. ``direct``: START comes from us."""
    activation = _activation(root, id, spec)
    options.preserve_fds += activation.get("listen", 0)
    check_preserved(options.preserve_fds)
    phase("compile the plan")
    cgroup = cgroup_for(spec, id, options)
    try:
        plan = compile_plan(root, id, spec, cgroup, options.no_pivot, options.new_keyring)
    except Refused as refused:
        raise config_error(spec.source, spec.bundle, refused) from None
    check_terminal(spec.process.flag("terminal"), options.console_socket, console >= 0)
    for warning in plan.warnings:
        warn(warning)
    phase("make the state directory")
    state = states.make(root, id)
    if activation:
        state.record["activation"] = activation
    return Creation(state, spec, plan, cgroup, options).go(console, direct)


def cgroup_for(spec: Spec, id: str, options: Options) -> Cgroup:
    """The cgroup of a new container: looked up, not made yet. Raises Error."""
    return cgroups.make(
        spec.linux.text("cgroupsPath") or None,
        id,
        systemd=options.systemd_cgroup,
        disabled=options.no_cgroup,
        rootless=options.rootless,
        resources=spec.linux.child("resources").data,
        annotations=spec.mapping("annotations"),
    )


def _activation(root: str, id: str, spec: Spec) -> dict[str, Any]:
    """Sockets of a service manager that the caller passes on; the configuration is changed accordingly."""
    if b"LISTEN_FDS" not in posix.environ and b"NOTIFY_SOCKET" not in posix.environ:
        return {}
    from pyrunc import activation

    found = activation.from_environment()
    activation.change(spec, found, f"{root}/{id}")
    return found


class Creation:
    """One create, from the state directory on: what is begun is undone when it fails."""

    __slots__ = ("state", "spec", "plan", "cgroup", "options", "init", "resctrl", "devices", "pid_file")

    def __init__(self, state: State, spec: Spec, plan: Plan, cgroup: Cgroup, options: Options) -> None:
        self.state = state
        self.spec = spec
        self.plan = plan
        self.cgroup = cgroup
        self.options = options
        self.init: Init | None = None
        self.resctrl: Resctrl | None = None
        self.devices: Moved | None = None
        self.pid_file = ""  # what was written; until then a file of that name is none of ours

    def go(self, console: int, direct: bool) -> Created:
        try:
            # Before it is in the record: whoever lives in it already must not be killed when we give up.
            self.cgroup.refuse_occupied()
            self._record()
            phase("make the cgroup", "linux.resources")
            make_cgroup(self.cgroup, self.spec, self.state)
            if self.plan.cgroup_owner >= 0 and not self.cgroup.adopts():
                self.cgroup.delegate(self.plan.cgroup_owner)
            self.cgroup.mark(self.state.directory)
            if self.resctrl:
                self.resctrl.make()
            phase("open what the plan asks for")
            init = self._spawn(console, direct)
            phase("wait for pyrunc-init")
            init.until_ready(self._stage, self._record_pid)
            phase("record what was made")
            self._oom_score(init)
            if self.resctrl:
                from pyrunc.resctrl import join

                join(self.resctrl.groups, init.pid)
                self.state.record["resctrl"] = self.resctrl.removes
            self.state.record["status"] = "created"
            if not direct or "hooks" in self.spec:
                self.state.save()
            if self.options.pid_file:
                pid_file.write(self.options.pid_file, init.pid)
                self.pid_file = self.options.pid_file
            if receiver := self._pidfd_receiver():
                send_pidfd(receiver, init.pidfd, b"standard")
            if not direct:
                init.release()
            if self.devices:
                self.devices.close()
            return Created(self.state, self.spec, init, self.pid_file)
        except BaseException as error:
            explain_death(error, self.state)
            self._undo()
            if isinstance(error, OSError):
                raise _os_error(error) from None
            raise

    def _record(self) -> None:
        self.resctrl = resctrl_of(self.spec, self.state.id)
        record = self.state.record
        record["version"] = VERSION
        record["status"] = "creating"
        record["ociVersion"] = self.spec.text("ociVersion")
        record["bundle"] = self.spec.bundle
        record["rootfs"] = rootfs_of(self.spec, record["bundle"])
        record["created"] = _now()
        record["annotations"] = self.spec.mapping("annotations")
        record["cgroup"] = self.cgroup.record()
        record["freezer"] = self.cgroup.freezer_file()
        record["mounts"] = self.plan.host_mounts
        record["under"] = [mount_id(path) for path in self.plan.host_mounts]
        record["temporary"] = pid_file.temporary(self.options.pid_file) if self.options.pid_file else ""
        record["notifies"] = self.plan.notifies
        if self.resctrl:
            record["resctrl"] = self.resctrl.makes
            record["resctrl_groups"] = self.resctrl.groups
        record["no_pivot"] = self.options.no_pivot
        record["new_keyring"] = self.options.new_keyring
        record["shared_pids"] = not any(
            item.text("type") == "pid" and not item.text("path")
            for item in self.spec.linux.children("namespaces")
        )
        record["pid"] = record["start_time"] = 0
        self.state.write("config.json", self.spec.source)
        self.state.save()
        if "notify" in record.get("activation", ()):
            from pyrunc import activation

            activation.make_directory(self.state)

    def _spawn(self, console: int, direct: bool) -> Init:
        listener = None
        watch = own_console = -1
        if not direct:
            listener = _listen(self.state)
            watch = _watch(self.state)
        if self.options.console_socket:
            own_console = console = connect_console(self.options.console_socket)
        try:
            with open_requests(self.plan, console) as opened:
                self.init = spawn(
                    self.plan,
                    opened,
                    clone_fd=-1 if self.plan.joins_cgroups else self.cgroup.clone_fd(),
                    listener=listener.fileno() if listener else -1,
                    watch=watch,
                    preserve=self.options.preserve_fds,
                    stdio=self.options.stdio,
                )
        finally:
            if listener:
                listener.close()
            for fd in (watch, own_console):
                if fd >= 0:
                    posix.close(fd)
        self._record_pid()
        if self.plan.user_namespace:
            raise_limits(self.plan, self.init.pid)
        return self.init

    def _record_pid(self) -> None:
        assert self.init is not None
        self.state.record["pid"] = self.init.pid
        self.state.record["start_time"] = self.init.start_time
        self.state.save()

    def _stage(self, stage: int) -> None:
        assert self.init is not None
        if stage == opcodes.STAGE_IDMAP:
            phase("write the id maps", "linux.uidMappings")
            from pyrunc.id_maps import write_id_maps

            write_id_maps(self.spec, self.init.pid)
        elif stage == opcodes.STAGE_CGROUP:
            self.cgroup.adopt(self.init.pid)
            if self.plan.cgroup_owner >= 0:
                self.cgroup.delegate(self.plan.cgroup_owner)
        elif stage == opcodes.STAGE_CREATE_RUNTIME:
            if "netDevices" in self.spec.linux:
                from pyrunc.netdevices import move_devices

                self.devices = move_devices(self.spec, self.init.pid)
            create_hooks(self.spec, self.state.id, self.init.pid, self.spec.bundle, self.init.pidfd)

    def _oom_score(self, init: Init) -> None:
        process = self.spec.process
        if "oomScoreAdj" in process:
            try:
                set_oom_score(init.pid, process.number("oomScoreAdj", 0, -1000, 1000))
            except Error as error:
                # Below its own score an ordinary user can't go; engines ask for it all the same.
                if error.errno not in (errno.EACCES, errno.EPERM) or not is_rootless():
                    raise
                warn(str(error))

    def _pidfd_receiver(self) -> str:
        """--pidfd-socket, or crun's annotation for it."""
        given = self.options.pidfd_socket
        return given or self.spec.mapping("annotations").get("run.oci.pidfd_receiver", "")

    def _undo(self) -> None:
        if self.devices:
            self.devices.restore()
            self.devices.close()
        if self.resctrl:
            self.state.record["resctrl"] = self.resctrl.made
        if self.init:
            self.init.end()
            self.init.close()
        if self.pid_file:
            pid_file.remove(self.pid_file)
        undo(self.state, self.spec)


def make_cgroup(cgroup: Cgroup, spec: Spec, state: State) -> None:
    """With its limits. What another container has made meanwhile is not in the record any more."""
    try:
        cgroup.create(spec.linux.child("resources").data)
    except Taken as taken:
        state.record["cgroup"] = taken.ours
        state.save()
        raise


def raise_limits(plan: Plan, pid: int) -> None:
    """Hard limits that init, in a user namespace, has no privilege to raise: getrlimit(2).

    What can't be raised here is refused to init too, and there it is an error with its place.
    """
    from pyrunc._native.load import clone

    for step in plan.steps:
        if step.op == opcodes.RLIMIT:
            clone().lib.pyrunc_raise_limit(pid, step.arguments[0], step.arguments[2])


def set_oom_score(pid: int, score: int) -> None:
    try:
        states.write_file(f"/proc/{pid}/oom_score_adj", str(score))
    except OSError as error:
        raise Error(
            f"oom_score_adj can't be set to {score}",
            code="oom-score",
            step="oom_score_adj",
            path="process.oomScoreAdj",
            errno=error.errno or 0,
            hint="lowering it needs CAP_SYS_RESOURCE",
        ) from None


def _listen(state: State) -> _socket.socket:
    """Where init waits for `start`. The path goes through our own descriptor: it is always short."""
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    posix.fchmod(listener.fileno(), 0o600)  # bind takes the file's mode from here, whatever the umask
    listener.bind(f"/proc/self/fd/{state.fd}/start.sock")
    listener.listen(8)
    return listener


def _watch(state: State) -> int:
    """Tells init, by the number of its links, when the state is gone. (Closing an inotify descriptor costs
    `start` several milliseconds: the kernel waits for a grace period.)"""
    flags = posix.O_PATH | posix.O_NOFOLLOW | posix.O_CLOEXEC
    return posix.open("start.sock", flags, dir_fd=state.fd)


def _now() -> str:
    """RFC 3339 with nanoseconds, UTC."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    t: Any = time.gmtime(seconds)
    return (
        f"{t.tm_year}-{t.tm_mon:02}-{t.tm_mday:02}"
        f"T{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}.{nanoseconds:09}Z"
    )


def _os_error(error: OSError) -> Error:
    from pyrunc.explain import call_refused

    subject = str(error.filename or "")
    message = f"a file of the runtime's own can't be used: {subject}"
    return call_refused("open", error.errno or 0, message, code="system", subject=subject, step="create")
