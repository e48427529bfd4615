"""Engines that run the runtime under test, each in a sandbox of its own."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path

from .images import IMAGE, rootfs
from .sandbox import Done, Sandbox

REPO = Path(__file__).resolve().parents[2]
GLUE = REPO / "contrib" / "engines"
CHANGES = ("--change", 'CMD ["/bin/sh"]', "--change", "ENV PATH=/usr/bin:/bin:/usr/sbin:/sbin")


def ok(done: Done) -> str:
    """The standard output of a command that has to succeed."""
    words = " ".join(str(word) for word in done.args[7:])
    assert done.returncode == 0, (
        f"{words}: exit status {done.returncode}: {(done.stderr or done.stdout)[-900:]}"
    )
    return done.stdout


class Engine:
    """What podman and docker share: a command line for running containers.

    commands: the Debian packages' programs that it needs.
    """

    name = ""
    commands: tuple[str, ...] = ()
    program: tuple[str, ...] = ()
    networks = ("--network", "none")

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.work = sandbox.work
        self.runtime = sandbox.runtime.name
        self.numbers = itertools.count(1)
        self.start()

    def start(self) -> None:
        """Writes the configuration, starts daemons, makes the image."""
        raise NotImplementedError

    def __call__(self, *words: str, stdin: str | None = None, timeout: float = 90) -> Done:
        return self.sandbox.run(*self.program, *words, stdin=stdin, timeout=timeout)

    def tty(self, *words: str, stdin: str = "") -> Done:
        return self.sandbox.on_terminal(*self.program, *words, stdin=stdin)

    def options(self, words: tuple[str, ...]) -> list[str]:
        """Options of run: no network unless one is named, and a cgroup of the sandbox's."""
        before = words[: words.index(IMAGE)] if IMAGE in words else words
        named = any(word.startswith(("--network", "--pod")) for word in before)
        return [*(() if named else self.networks), "--cgroup-parent", f"/{self.sandbox.name}"]

    def run(self, *words: str, stdin: str | None = None) -> Done:
        return self("run", *self.options(words), *words, stdin=stdin)

    def output(self, *words: str) -> str:
        """What the container of `run --rm` printed, which has to succeed."""
        return ok(self.run("--rm", *words)).rstrip("\n")

    def new_name(self) -> str:
        return f"{self.sandbox.name}-{next(self.numbers)}"

    @contextlib.contextmanager
    def container(self, *options: str, command: tuple[str, ...] = ("sleep", "1000")) -> Iterator[str]:
        """The name of a running container."""
        name = self.new_name()
        try:
            ok(self.run("-d", "--name", name, *options, IMAGE, *command))
            yield name
        finally:
            self("rm", "-f", *self.at_once, name)

    at_once: tuple[str, ...] = ()

    def inspect(self, name: str, form: str) -> str:
        return self("inspect", "--format", "{{" + form + "}}", name).stdout.strip()

    def status(self, name: str) -> str:
        return self.inspect(name, ".State.Status}} {{.State.ExitCode")

    def until(self, wanted: str, name: str, seconds: float = 15) -> None:
        """Waits for a status such as "exited 3"."""
        end = time.monotonic() + seconds
        while (status := self.status(name)) != wanted:
            assert time.monotonic() < end, f"status {status}, not {wanted}"
            time.sleep(0.1)


class Podman(Engine):
    """podman, with the drop-in that ships with the runtime."""

    name = "podman"
    commands = ("podman", "conmon")
    at_once = ("-t", "0")

    def start(self) -> None:
        work, sandbox = self.work, self.sandbox
        conf = "/etc/containers/containers.conf.d"
        sandbox.write("/etc/containers/policy.json", '{"default": [{"type": "insecureAcceptAnything"}]}')
        sandbox.write(f"{conf}/10-pyrunc.conf", (GLUE / "pyrunc.conf").read_text())
        sandbox.write(f"{conf}/20-test.conf", PODMAN.format(work=work, path=sandbox.environment["PATH"]))
        sandbox.environment["CONTAINERS_STORAGE_CONF"] = str(work / "storage.conf")
        sandbox.environment["PODMAN_IGNORE_CGROUPSV1_WARNING"] = "1"
        self.program = ("podman", "--runtime", self.runtime)
        tar = rootfs(work / "busybox.tar")
        for driver in ("overlay", "vfs"):  # no overlay on an overlay
            (work / "storage.conf").write_text(STORAGE.format(driver=driver, work=work))
            imported = self("import", *CHANGES, str(tar), IMAGE)
            if imported.returncode == 0:
                return
        raise RuntimeError(f"podman cannot store an image here: {imported.stderr.strip()}")


PODMAN = """
[containers]
log_driver = "json-file"
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
conmon_env_vars = ["PATH={path}"]
tmp_dir = "{work}/tmp"
[network]
network_backend = "cni"
network_config_dir = "{work}/net.d"
cni_plugin_dirs = ["/usr/lib/cni", "/opt/cni/bin"]
"""

STORAGE = """
[storage]
driver = "{driver}"
graphroot = "{work}/root"
runroot = "{work}/runroot"
"""


class Containerd(Engine):
    """containerd, by ctr. The CRI of the same daemon is cri.py's."""

    name = "containerd"
    commands = ("containerd", "ctr", "containerd-shim-runc-v2")

    def start(self) -> None:
        from .images import archive

        start_containerd(self.sandbox, CONTAINERD.format(work=self.work))
        self.program = ("ctr", "-a", f"{self.work}/cd.sock")
        images = archive(self.work / "images.tar", rootfs(self.work / "busybox.tar"))
        ok(self("image", "import", str(images)))

    def words(self, words: tuple[str, ...]) -> list[str]:
        """The words of `ctr run`, with the runtime and a name put in: OPTION… IMAGE COMMAND…"""
        at = words.index(IMAGE) if IMAGE in words else len(words)
        runtime = ("--runtime", "io.containerd.runc.v2", "--runc-binary", self.runtime)
        name = self.new_name()
        cgroup = ("--cgroup", f"/{self.sandbox.name}/{name}")
        self.last = name
        before, after = words[:at], words[at + 1 :]
        return ["run", *runtime, *cgroup, *before, *words[at : at + 1], name, *after]

    def run(self, *words: str, stdin: str | None = None) -> Done:
        return self(*self.words(words), stdin=stdin)

    @contextlib.contextmanager
    def container(self, *options: str, command: tuple[str, ...] = ("sleep", "1000")) -> Iterator[str]:
        try:
            ok(self.run("-d", *options, IMAGE, *command))
            name = self.last
            yield name
        finally:
            self("task", "rm", "-f", self.last)
            self("container", "rm", self.last)

    def status(self, name: str) -> str:
        lines = [line.split() for line in self("task", "ls").stdout.splitlines()]
        return next((line[2].lower() for line in lines if line[0] == name), "")


CONTAINERD = """
version = 2
root = "{work}/cd/root"
state = "{work}/cd/state"
oom_score = 0
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{work}/cd.sock"
"""


def start_containerd(sandbox: Sandbox, config: str) -> None:
    (sandbox.work / "containerd.toml").write_text(config)
    sandbox.daemon("containerd", "-c", str(sandbox.work / "containerd.toml"), log="containerd")
    sandbox.wait_for("containerd", "ctr", "-a", f"{sandbox.work}/cd.sock", "version")


class Docker(Engine):
    """docker, with a containerd and a dockerd of its own; daemon.json is what ships with the runtime."""

    name = "docker"
    commands = ("docker", "dockerd", *Containerd.commands)

    def start(self) -> None:
        start_containerd(self.sandbox, CONTAINERD.format(work=self.work))
        self.program = self.daemon("docker", bip="10.66.0.1/16")
        ok(self("import", *CHANGES, str(rootfs(self.work / "busybox.tar")), IMAGE))

    def daemon(self, name: str, *before: str, **more: object) -> tuple[str, ...]:
        """Starts a dockerd, by the words of another program if any are given.

        Returns the command line that talks with it."""
        work = self.work
        daemon = json.loads((GLUE / "daemon.json").read_text())
        if self.runtime not in ("pyrunc", "runc"):  # dockerd knows runc by itself
            daemon["runtimes"][self.runtime] = {"path": self.runtime}
        daemon |= {
            "default-runtime": self.runtime,
            "default-ulimits": {"nofile": {"Name": "nofile", "Hard": 20000, "Soft": 20000}},
            "data-root": f"{work}/{name}/root",
            "exec-root": f"{work}/{name}/exec",
            "pidfile": f"{work}/{name}.pid",
            "hosts": [f"unix://{work}/{name}.sock"],
            "containerd": f"{work}/cd.sock",
            "ip-forward": False,
            "ip-masq": False,
            "userland-proxy": False,
            "experimental": True,
            "cgroup-parent": f"/{self.sandbox.name}",
            **more,
        }
        (work / f"{name}.json").write_text(json.dumps(daemon))
        self.sandbox.daemon(*before, "dockerd", "--config-file", str(work / f"{name}.json"), log=name)
        program = ("docker", "-H", f"unix://{work}/{name}.sock")
        self.sandbox.wait_for(name, *program, "version")
        return program
