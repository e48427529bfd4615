"""`restore`: a container out of CRIU's images, with the bundle's configuration around it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyrunc import criu, criu_service, pid_file
from pyrunc import state_directory as states
from pyrunc.checkpoint import external_namespace, joined
from pyrunc.configuration import compile_plan, config_error, read_config, rootfs_of
from pyrunc.creation import Creation, Options, cgroup_for, make_cgroup
from pyrunc.descriptors import check_terminal, connect_console
from pyrunc.destroy import destroy, poststop
from pyrunc.errors import Error
from pyrunc.hooks import create_hooks
from pyrunc.launch import spawn
from pyrunc.opening import open_requests
from pyrunc.plan import Plan, opcodes
from pyrunc.process import look, pidfd_open
from pyrunc.spec import Refused
from pyrunc.vocabulary.mount_options import is_bind
from pyrunc.vocabulary.namespaces import CLONE_NEWNS, CLONE_NEWUSER

if TYPE_CHECKING:
    from pyrunc.cgroup.base import Cgroup
    from pyrunc.spec import Spec
    from pyrunc.state_directory import State

# criu waits in this script while we run the hooks of create.
_SCRIPT = """#!/bin/sh
[ "$CRTOOLS_SCRIPT_ACTION" = setup-namespaces ] || exit 0
echo "$CRTOOLS_INIT_PID" > {directory}/ask
read -r answer < {directory}/answer
[ "$answer" = go ]
"""
# criu wants a mount point for the new root; this one ends with criu.
_MOUNT = 'mount --rbind "$1" "$2" && shift 2 && exec "$@"'
_PRIVATELY = ("unshare", "--mount", "--propagation", "slave", "sh", "-c", _MOUNT, "sh")
_MOUNTING = (opcodes.PROPAGATE, opcodes.ROOTFS, opcodes.MOUNT, opcodes.BIND)


def restore_container(root: str, id: str, bundle: str, options: dict[str, Any]) -> int:
    """Bring the processes back. Returns the exit status of the first one, 0 when detached.

    options: those of the command line, by their names with "_".
    """
    image, work = criu.directories(options, make=False)
    spec = read_config(bundle)
    given = Options(
        pid_file=options["pid_file"],
        no_pivot=options["no_pivot"],
        systemd_cgroup=options["systemd_cgroup"],
        rootless=options["rootless"],
        no_cgroup=options["no_cgroup"],
    )
    cgroup = cgroup_for(spec, id, given)
    try:
        plan = compile_plan(root, id, spec, cgroup, options["no_pivot"], True)
    except Refused as refused:
        raise config_error(spec.source, bundle, refused) from None
    check_terminal(spec.process.flag("terminal"), options["console_socket"], not options["detach"])
    foreground = None
    if not options["detach"]:
        from pyrunc.foreground import Foreground

        foreground = Foreground(True)
    restoration = Restoration(states.make(root, id), spec, plan, cgroup, given)
    pid, pidfd = restoration.restore(options, image, work)
    state = restoration.state
    if foreground is None:
        state.close()
        return 0
    fcntl.flock(state.fd, fcntl.LOCK_UN)
    status = foreground.wait(pid, pidfd, restoration.master)
    fcntl.flock(state.fd, fcntl.LOCK_EX)
    state.record["pid"] = 0  # reaped
    if os.fstat(state.fd).st_nlink:
        poststop(destroy(state, spec), state)
    return status


class Restoration(Creation):
    """A creation whose processes come out of images. ``master``: of their terminal, if we are to serve it."""

    master = -1

    def restore(self, options: dict[str, Any], image: str, work: str) -> tuple[int, int]:
        """The pid and pidfd of the container's process, a child of ours."""
        try:
            self.cgroup.refuse_occupied()
            self._record()
            with self._cgroup_made():
                self._make_mount_points()
                pid = self._criu(options, image, work)
            pidfd = pidfd_open(pid)
            seen = look(pid)
            self.state.record.update(pid=pid, start_time=seen.start_time if seen else 0, status="running")
            self.state.save()
            if self.options.pid_file:
                pid_file.write(self.options.pid_file, pid)
                self.pid_file = self.options.pid_file
            return pid, pidfd
        except BaseException:
            self._undo()
            raise

    @contextlib.contextmanager
    def _cgroup_made(self) -> Iterator[None]:
        """A scope of systemd's lasts as long as a process is in it: until criu is, that one waits there."""
        make_cgroup(self.cgroup, self.spec, self.state)
        self.cgroup.mark(self.state.directory)
        if not self.cgroup.adopts():
            yield
            return
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as waiting:
            self.cgroup.adopt(waiting.pid)
            yield

    def _make_mount_points(self) -> None:
        """All mounts once, in a namespace that is thrown away: what they stand on is there afterwards."""
        if self.plan.clone_flags & CLONE_NEWUSER or not self.plan.clone_flags & CLONE_NEWNS:
            return
        plan = Plan()
        plan.clone_flags = CLONE_NEWNS
        plan.fds = self.plan.fds
        for step in self.plan.steps:
            if step.op == opcodes.PIVOT:
                break
            if step.op in _MOUNTING:
                plan.steps.append(step)
        plan.add(opcodes.GATE)
        with open_requests(plan) as opened:
            init = spawn(plan, opened)
        try:
            init.until_ready(lambda stage: None, lambda: None)
        finally:
            init.end()
            init.close()

    def _criu(self, options: dict[str, Any], image: str, work: str) -> int:
        directory = self.state.directory
        new_root, pid_of = f"{directory}/root", f"{directory}/criu.pid"
        os.mkdir(new_root, 0o700)
        outside = _Outside(self.state, self.spec, self.cgroup, image)
        annotations = self.spec.mapping("annotations")
        arguments = [*criu.common_arguments(options, annotations), *outside.arguments]
        arguments += ["--restore-detached", "--restore-sibling", "--root", new_root, "--pidfile", pid_of]
        # In its cgroup already: the restored processes are born where criu is.
        arguments.append(f"--manage-cgroups={options['manage_cgroups_mode'] or 'ignore'}")
        if options["tcp_close"]:
            arguments.append("--tcp-close")
        for key, flag in (("lsm_profile", "--lsm-profile"), ("lsm_mount_context", "--lsm-mount-context")):
            if options[key]:
                arguments += [flag, options[key]]
        wrapper = [*_PRIVATELY, rootfs_of(self.spec, self.spec.bundle), new_root]
        how: dict[str, Any] = {"wrapper": wrapper, "fds": outside.fds, "setup": self._join_cgroup}
        try:
            if self.spec.process.flag("terminal"):
                return self._with_terminal(arguments, work, how, options["console_socket"])
            hooks = self.spec.child("hooks")
            if hooks.children("prestart") or hooks.children("createRuntime"):
                arguments += ["--action-script", self._script()]
                how["meanwhile"] = self._answer
            criu.run("restore", arguments, work, **how)
        finally:
            outside.close()
        return int(Path(pid_of).read_text())

    def _with_terminal(self, arguments: list[str], work: str, how: dict[str, Any], path: str) -> int:
        """The master goes to ``path``, the caller's console socket, or stays with us in the foreground."""
        console = connect_console(path) if path else -1

        def notified(moment: str, pid: int, fd: int) -> None:
            if moment == "setup-namespaces":
                self._hooks(pid)
            elif moment == "orphan-pts-master" and self.master < 0:
                self.master = os.dup(fd)

        try:
            pid = criu_service.run("restore", arguments, work, notified=notified, **how)
            if console >= 0:
                with socket.socket(fileno=os.dup(console)) as receiver:
                    socket.send_fds(receiver, [b"/dev/ptmx"], [self.master])
            return pid
        finally:
            if console >= 0:
                os.close(console)
                if self.master >= 0:
                    os.close(self.master)
                    self.master = -1

    def _hooks(self, pid: int) -> None:
        create_hooks(self.spec, self.state.id, pid, self.spec.bundle)

    def _join_cgroup(self) -> None:
        for file in self.cgroup.join_files():
            states.write_file(file, "0")

    def _script(self) -> str:
        directory = self.state.directory
        for name in ("ask", "answer"):
            os.mkfifo(f"{directory}/{name}", 0o600)
        script = Path(directory, "script")
        script.write_text(_SCRIPT.format(directory=shlex.quote(directory)))
        script.chmod(0o700)
        return str(script)

    def _answer(self, process: subprocess.Popen[bytes]) -> None:
        """Run the hooks when criu asks for it."""
        directory = self.state.directory
        asking = os.open(f"{directory}/ask", os.O_RDWR | os.O_NONBLOCK)
        try:
            while process.poll() is None:
                try:
                    pid = int(os.read(asking, 64))
                except BlockingIOError:
                    time.sleep(0.01)
                    continue
                self._hooks(pid)
                Path(directory, "answer").write_text("go\n")
                return
        finally:
            os.close(asking)


class _Outside:
    """What the images leave out, from where it is now."""

    def __init__(self, state: State, spec: Spec, cgroup: Cgroup, image: str) -> None:
        self._spec = spec
        self._cgroup = cgroup
        self._directory = state.directory
        self.fds: list[int] = []
        self.arguments: list[str] = []
        record = _read(image, criu.MOUNTS) or {"mounts": self._configured(), "files": {}}
        for mountpoint, kind in record["mounts"].items():
            self.arguments += ["--external", f"mnt[{mountpoint}]:{self._source(mountpoint, kind)}"]
        for fd, name in enumerate(_read(image, criu.NAMES) or []):
            resource = name if name.startswith("pipe:") else record["files"].get(str(fd))
            if resource:
                self._inherit(os.dup(fd), resource)
        for name, kind in (("network", "net"), ("pid", "pid")):
            if path := joined(spec, name):
                self._inherit(os.open(path, os.O_RDONLY), external_namespace(kind))

    def _inherit(self, fd: int, resource: str) -> None:
        # criu keeps low numbers for itself.
        high = fcntl.fcntl(fd, fcntl.F_DUPFD, 100)
        os.close(fd)
        self.fds.append(high)
        self.arguments += ["--inherit-fd", f"fd[{high}]:{resource}"]

    def close(self) -> None:
        for fd in self.fds:
            os.close(fd)

    def _configured(self) -> dict[str, str]:
        """Of images that somebody else has made: what the configuration says."""
        mounts = self._spec.children("mounts")
        binds = [mount.text("destination") for mount in mounts if is_bind(mount.texts("options"))]
        return {**dict.fromkeys(binds, ""), **dict.fromkeys(self._spec.linux.texts("maskedPaths"), "file")}

    def _source(self, mountpoint: str, kind: str) -> str:
        for mount in reversed(self._spec.children("mounts")):
            destination = mount.text("destination").rstrip("/")
            if is_bind(mount.texts("options")) and f"{mountpoint}/".startswith(f"{destination}/"):
                source = mount.text("source")
                absolute = source if source.startswith("/") else f"{self._spec.bundle}/{source}"
                return absolute + mountpoint[len(destination) :]
        if mountpoint in self._spec.linux.texts("maskedPaths"):
            return self._empty(kind)
        for controllers, hierarchy, path in self._cgroup.mounts():
            names = ",".join(controllers).removeprefix("name=")
            if mountpoint.rpartition("/")[2] in (names, *controllers):
                return hierarchy + path
        if mountpoint.startswith("/dev/") and os.path.exists(mountpoint):
            return mountpoint  # a device that could not be made
        raise Error(
            f"the checkpoint has a mount at {mountpoint}, and the configuration has none",
            code="criu-images",
            step="restore",
            path="mounts",
            subject=mountpoint,
            hint="restore with the configuration that the container was made with",
        )

    def _empty(self, kind: str) -> str:
        """What stands over a masked path."""
        if kind == "file":
            return "/dev/null"
        path = f"{self._directory}/empty"
        os.makedirs(path, mode=0o555, exist_ok=True)
        return path


def _read(image: str, name: str) -> Any:
    try:
        return json.loads(Path(image, name).read_bytes())
    except (OSError, ValueError):
        return None
