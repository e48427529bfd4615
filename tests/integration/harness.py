"""What the integration tests are written in: a runtime, its bundles, its containers.

The runtime is a program with the command line of runc: $OCI_RUNTIME, pyrunc if unset.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Config = dict[str, Any]
REPO = Path(__file__).resolve().parents[2]
OPTIONS = os.environ.get("OCI_RUNTIME_OPTIONS", "").split()  # before the verb, as --systemd-cgroup
PROGRAM = os.environ.get("OCI_RUNTIME", str(REPO / ".venv" / "bin" / "pyrunc"))
ID_PREFIX = "pyrunc-test-"
CGROUPS = Path("/sys/fs/cgroup")
TIMEOUT = 30.0  # seconds that a single call of the runtime may take
CAPABILITY_SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")
DEFAULT_CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]


# For tests of what only pyrunc has: its own verbs, its library, its budgets.
pyrunc_only = pytest.mark.skipif("pyrunc" not in Path(PROGRAM).name, reason="only pyrunc has it")


def peers_differ(*runtimes: str, why: str) -> None:
    """Skip the test on the named runtimes, which do not do what it asks for."""
    if Path(PROGRAM).name in runtimes:
        pytest.skip(f"{Path(PROGRAM).name} differs: {why}")


def default_config(*args: str) -> Config:
    """The configuration of `runc spec`, reduced; `args` is the container's program."""
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": list(args),
            "env": ["PATH=/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {name: list(DEFAULT_CAPABILITIES) for name in CAPABILITY_SETS},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": False},
        "hostname": "pyrunc-test",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {
                "destination": "/dev",
                "type": "tmpfs",
                "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
            },
            {
                "destination": "/dev/pts",
                "type": "devpts",
                "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
            },
            {
                "destination": "/dev/shm",
                "type": "tmpfs",
                "source": "shm",
                "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
            },
            {
                "destination": "/sys",
                "type": "sysfs",
                "source": "sysfs",
                "options": ["nosuid", "noexec", "nodev", "ro"],
            },
        ],
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": name} for name in ("pid", "network", "ipc", "uts", "mount")],
        },
    }


def add_namespace(config: Config, type_: str, path: str = "") -> None:
    """Ask for a namespace: a new one, or the one at `path` to join."""
    rest = [n for n in config["linux"]["namespaces"] if n["type"] != type_]
    config["linux"]["namespaces"] = [*rest, {"type": type_, **({"path": path} if path else {})}]


def user_namespace(config: Config, host: int = 100000, size: int = 65536) -> None:
    """A new user namespace whose root is the host's `host`."""
    add_namespace(config, "user")
    mapping = [{"containerID": 0, "hostID": host, "size": size}]
    config["linux"].update(uidMappings=mapping, gidMappings=mapping)


def make_rootfs(path: Path) -> Path:
    """A root filesystem of busybox: /bin with every applet, and the usual directories."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("busybox not found: apt-get install busybox-static")
    for name in ("bin", "dev", "etc", "proc", "root", "sys", "tmp"):
        (path / name).mkdir(parents=True)
    (path / "tmp").chmod(0o1777)
    shutil.copy2(busybox, path / "bin" / "busybox")
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    for applet in applets.stdout.split():
        if applet != "busybox":
            (path / "bin" / applet).symlink_to("busybox")
    (path / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (path / "etc" / "group").write_text("root:x:0:\n")
    return path


class Result:
    """What a call of the runtime printed, and its exit status."""

    def __init__(self, args: list[str], status: int, stdout: str, stderr: str) -> None:
        self.args, self.status, self.stdout, self.stderr = args, status, stdout, stderr

    @property
    def lines(self) -> list[str]:
        return self.stdout.splitlines()

    def ok(self) -> Result:
        """Itself; fails the test if the call failed."""
        assert self.status == 0, self
        return self

    def failed(self, status: int | None = None) -> Result:
        """Itself; fails the test if the call went well (or not with `status`)."""
        assert self.status != 0 and self.status >= 0, self
        assert status is None or self.status == status, self
        return self

    def __repr__(self) -> str:
        return f"{self.args} -> {self.status}\nstdout: {self.stdout}\nstderr: {self.stderr}"


class Container:
    """An id with a bundle; the runtime may or may not know it yet."""

    def __init__(self, runtime: Runtime, bundle: Path, config: Config) -> None:
        self.runtime, self.bundle, self.config = runtime, bundle, config
        self.id = own(ID_PREFIX + uuid.uuid4().hex[:12])
        self.output = bundle / "output"

    @property
    def rootfs(self) -> Path:
        return self.bundle / "rootfs"

    def write(self) -> None:
        (self.bundle / "config.json").write_text(json.dumps(self.config, indent=1))

    def create(self, *options: str) -> Result:
        """create; the container's output goes to the file `output`, as an engine's would."""
        self.write()
        args = ["create", "--bundle", str(self.bundle), *options, self.id]
        with self.output.open("ab") as output:
            return self.runtime(*args, stdout=output)

    def run(self, *options: str, **kwargs: Any) -> Result:
        """run, in the foreground unless --detach is among the options."""
        self.write()
        args = ["run", "--bundle", str(self.bundle), *options, self.id]
        if "--detach" in options:
            with self.output.open("ab") as output:
                return self.runtime(*args, stdout=output, **kwargs)
        return self.runtime(*args, **kwargs)

    def start(self, *options: str) -> Result:
        return self.runtime("start", *options, self.id)

    def kill(self, signal: str = "KILL") -> Result:
        return self.runtime("kill", self.id, signal)

    def delete(self, *options: str) -> Result:
        return self.runtime("delete", *options, self.id)

    def exec(self, *args: str, options: tuple[str, ...] = ()) -> Result:
        return self.runtime("exec", *options, self.id, *args)

    def state(self) -> Config:
        answer: Config = json.loads(self.runtime("state", self.id).ok().stdout)
        return answer

    def printed(self) -> str:
        """What the container and `create` wrote; errors of `create` are here, too."""
        return self.output.read_text() if self.output.exists() else ""

    @property
    def pid(self) -> int:
        return int(self.state()["pid"])

    @property
    def status(self) -> str:
        return str(self.state()["status"])

    def wait(self, status: str = "stopped") -> None:
        """Until `state` says `status`."""
        wait_for(lambda: self.status == status, f"{self.id} is not {status}")

    def started(self) -> Container:
        """Itself, created and started."""
        assert self.create().status == 0, self.printed()
        self.start().ok()
        return self

    def finished(self) -> Container:
        """Itself, after its program has ended."""
        self.started().wait()
        return self


def wait_for(condition: Callable[[], object], message: str, seconds: float = 10.0) -> None:
    """Poll until `condition` is true; fail the test after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, message
        time.sleep(0.01)


class Runtime:
    """The runtime under test with a state root of its own."""

    def __init__(self, tmp: Path, rootfs: Path) -> None:
        self.tmp, self.base = tmp, rootfs
        self.root = tmp / "state"
        self.containers: list[Container] = []

    def __call__(self, *args: str, stdout: Any = None, prefix: tuple[str, ...] = (), **kwargs: Any) -> Result:
        """Call the runtime, by the command `prefix` if there is one.

        Output goes to files: a container may outlive the call.
        """
        command = [*prefix, PROGRAM, "--root", str(self.root), *OPTIONS, *args]
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        kwargs.setdefault("timeout", TIMEOUT)
        out = self.tmp / f"out-{uuid.uuid4().hex}"
        err = out.with_suffix(".err")
        with out.open("wb") as o, err.open("wb") as e:
            done = subprocess.run(command, stdout=stdout or o, stderr=e, check=False, **kwargs)
        return Result(command, done.returncode, _read(out), _read(err))

    def container(self, *args: str, config: Config | None = None) -> Container:
        """A new bundle that runs `args`; change `.config` before create or run."""
        bundle = self.tmp / f"bundle-{len(self.containers)}"
        bundle.mkdir()
        # A copy, as tests write to it; links cost nothing, and only programs are links.
        subprocess.run(["cp", "-al", str(self.base), str(bundle / "rootfs")], check=True)
        shutil.rmtree(bundle / "rootfs/etc")
        shutil.copytree(self.base / "etc", bundle / "rootfs/etc")
        container = Container(self, bundle, config or default_config(*args))
        self.containers.append(container)
        return container

    def sh(self, script: str) -> Container:
        """A new bundle that runs a shell script."""
        return self.container("/bin/sh", "-c", script)

    def sleeper(self) -> Container:
        return self.container("/bin/sleep", "100")

    def clean(self) -> None:
        """Leave nothing behind, whatever the test and the runtime did: no failure stops the rest."""
        with contextlib.ExitStack() as stack:
            for mount in mounts_below(self.tmp):
                stack.callback(subprocess.run, ["umount", "-l", mount], check=False)
            for container in self.containers:
                stack.callback(self._remove, container)

    def _remove(self, container: Container) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self("delete", "--force", container.id)
        for pid in marked(container.id):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for(functools.partial(emptied, container.id), "cgroup in use", 5)
        for cgroup in cgroups_of(container.id):
            cgroup.rmdir()


def _read(path: Path) -> str:
    text = path.read_bytes().decode(errors="replace")
    path.unlink()
    return text


def own(id_: str) -> str:
    """The id, if it is one that the tests made up. Clean-up kills by it: never by less."""
    if not re.fullmatch(ID_PREFIX + "[0-9a-f]{12}", id_):
        raise ValueError(f"{id_!r} is not an id of these tests")
    return id_


def cgroups_of(id_: str) -> list[Path]:
    """Every cgroup directory, in any hierarchy, with the id in its path; innermost first."""
    own(id_)
    # find(1) goes down any depth; it grumbles at what vanishes meanwhile.
    listing = subprocess.run(
        ["find", *hierarchies(), "-type", "d", "-path", f"*{id_}*"],
        capture_output=True,
        text=True,
        check=False,
    )
    found = [Path(line) for line in listing.stdout.splitlines()]
    return sorted(found, key=lambda path: -len(path.parts))


def hierarchies() -> list[str]:
    """Where cgroups are mounted. (What else is below /sys/fs/cgroup may look like it and is none.)"""
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    points = {fields[4] for fields in mounts if fields[fields.index("-") + 1].startswith("cgroup")}
    return sorted(point for point in points if os.path.exists(f"{point}/cgroup.procs"))


def emptied(id_: str) -> bool:
    """Whether the cgroups of a container are empty; what is in them gets SIGKILL."""
    pids: list[int] = []
    for cgroup in cgroups_of(id_):
        try:
            pids += [int(line) for line in (cgroup / "cgroup.procs").read_text().split()]
        except OSError:
            continue
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return not pids


def marked(id_: str) -> list[int]:
    """The processes with the id in their environment or arguments, but not this one."""
    text = own(id_).encode()
    return [pid for pid in processes() if pid != os.getpid() and _mentions(pid, text)]


def processes() -> Iterator[int]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            yield int(name)


def _mentions(pid: int, text: bytes) -> bool:
    for name in ("environ", "cmdline"):
        try:
            if text in Path(f"/proc/{pid}/{name}").read_bytes():
                return True
        except OSError:
            continue
    return False


def holding(path: Path) -> list[int]:
    """The processes, but not this one, with a file below `path` open or as root or cwd."""
    return [pid for pid in processes() if pid != os.getpid() and _holds(pid, str(path))]


def _holds(pid: int, path: str) -> bool:
    try:
        links = [f"/proc/{pid}/root", f"/proc/{pid}/cwd"]
        links += [f"/proc/{pid}/fd/{fd}" for fd in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        return False
    for link in links:
        with contextlib.suppress(OSError):
            if os.readlink(link).startswith(path):
                return True
    return False


def is_locked(directory: Path) -> bool:
    """Whether a runtime is at work on the container of this state directory."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def mounts_below(path: Path) -> list[str]:
    """The mount points below `path` in this mount namespace, in order."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4] for line in lines]
    return [point for point in points if point.startswith(f"{path}/")]


def cgroup_file(container: Container, controller: str, name: str) -> str:
    """A cgroup v1 file's text, of the cgroup that the container's process is in."""
    hierarchy = CGROUPS / controller
    if not hierarchy.is_dir():
        pytest.skip(f"no cgroup v1 hierarchy {controller}")
    for line in Path(f"/proc/{container.pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return (hierarchy / path.lstrip("/") / name).read_text().strip()
    pytest.skip(f"no cgroup v1 controller {controller}")
