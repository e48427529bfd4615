"""docker and ctr with this runtime: dockerd and containerd of the test's own, own sockets."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from subprocess import CompletedProcess

import pytest

from .sandbox import BUSYBOX, RUNTIME, Sandbox, busybox_image

pytestmark = [
    pytest.mark.skipif(not shutil.which(name), reason=f"{name} is not installed (docker.io, containerd)")
    for name in ("docker", "dockerd", "containerd", "ctr", "containerd-shim-runc-v2")
] + [pytest.mark.skipif(not BUSYBOX.exists(), reason="busybox-static is not installed")]

CONTAINERD = """
version = 2
root = "{work}/cd/root"
state = "{work}/cd/state"
oom_score = 0
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{work}/cd.sock"
"""


class Docker:
    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.names = 0
        self.work = work = sandbox.work
        (work / "containerd.toml").write_text(CONTAINERD.format(work=work))
        daemon = {
            "runtimes": {"tested": {"path": str(RUNTIME)}},
            "default-runtime": "tested",
            "default-ulimits": {"nofile": {"Name": "nofile", "Hard": 20000, "Soft": 20000}},
            "data-root": f"{work}/docker/root",
            "exec-root": f"{work}/docker/exec",
            "pidfile": f"{work}/docker.pid",
            "hosts": [f"unix://{work}/docker.sock"],
            "containerd": f"{work}/cd.sock",
            "bridge": "none",
            "iptables": False,
            "ip-forward": False,
            "ip-masq": False,
            "userland-proxy": False,
            "cgroup-parent": f"/{sandbox.name}",
        }
        (work / "daemon.json").write_text(json.dumps(daemon))
        sandbox.daemon("containerd", "-c", str(work / "containerd.toml"))
        self.wait_for("containerd", "ctr", "-a", f"{work}/cd.sock", "version")
        sandbox.daemon("dockerd", "--config-file", str(work / "daemon.json"))
        self.wait_for("dockerd", "docker", "-H", f"unix://{work}/docker.sock", "version")
        tar = busybox_image(work / "busybox.tar")
        done = self("import", "--change", 'CMD ["/bin/sh"]', str(tar), "busybox:test")
        assert done.returncode == 0, done.stderr

    def wait_for(self, daemon: str, *command: str) -> None:
        for _ in range(100):
            if self.sandbox.run(*command).returncode == 0:
                return
            time.sleep(0.2)
        pytest.skip(f"{daemon} does not start here: {self.sandbox.log(daemon)[-500:]}")

    def __call__(self, *words: str, **more: str) -> CompletedProcess[str]:
        return self.sandbox.run("docker", "-H", f"unix://{self.work}/docker.sock", *words, **more)

    def on_terminal(self, *words: str) -> CompletedProcess[str]:
        program = ["docker", "-H", f"unix://{self.work}/docker.sock"]
        return self.sandbox.on_terminal(" ".join([*program, *words]))

    def run(self, *words: str, **more: str) -> CompletedProcess[str]:
        return self("run", "--network", "none", *words, **more)

    def background(self, *command: str) -> str:
        self.names += 1
        name = f"{self.sandbox.name}-{self.names}"
        started = self.run("-d", "--name", name, "busybox:test", *command)
        assert started.returncode == 0, started.stderr
        return name

    def status(self, name: str) -> str:
        form = "{{.State.Status}} {{.State.ExitCode}}"
        return self("inspect", "--format", form, name).stdout.strip()

    def ctr(self, *words: str) -> CompletedProcess[str]:
        return self.sandbox.run("ctr", "-a", f"{self.work}/cd.sock", *words)


@pytest.fixture(scope="module")
def docker() -> Iterator[Docker]:
    sandbox = Sandbox()
    try:
        yield Docker(sandbox)
    finally:
        sandbox.close()


def test_run_gives_output_and_exit_status(docker: Docker) -> None:
    done = docker.run("--rm", "busybox:test", "sh", "-c", "echo hello; echo oops >&2; exit 7")
    assert (done.stdout, done.stderr, done.returncode) == ("hello\n", "oops\n", 7)


def test_run_passes_stdin(docker: Docker) -> None:
    done = docker.run("-i", "--rm", "busybox:test", "cat", stdin="through\n")
    assert done.stdout == "through\n", done.stderr


@pytest.mark.parametrize(
    ("command", "code"), [("nosuchcommand", 127), ("/no/such", 127), ("/etc/passwd", 126)]
)
def test_run_of_what_cannot_be_executed(docker: Docker, command: str, code: int) -> None:
    done = docker.run("--rm", "busybox:test", command)
    assert done.returncode == code, done.stderr


def test_run_on_a_terminal(docker: Docker) -> None:
    done = docker.on_terminal("run", "--network", "none", "-it", "--rm", "busybox:test", "tty")
    assert (done.stdout.strip(), done.returncode) == ("/dev/pts/0", 0), done


def test_run_with_limits_and_hostname(docker: Docker) -> None:
    limits = ["--memory", "64m", "--pids-limit", "50", "--cpus", "0.5"]
    done = docker.run("--rm", *limits, "--hostname", "there", "busybox:test", "hostname")
    assert done.stdout == "there\n", done.stderr


def test_exec(docker: Docker) -> None:
    name = docker.background("sleep", "100")
    done = docker("exec", "-e", "A=b", name, "sh", "-c", "echo $A; exit 3")
    assert (done.stdout, done.returncode) == ("b\n", 3), done.stderr
    for command in ("nosuchcommand", "/etc/passwd"):  # docker 20.10 has 126 for the first, too
        assert docker("exec", name, command).returncode in (126, 127)
    done = docker.on_terminal("exec", "-it", name, "tty")
    assert (done.stdout.strip(), done.returncode) == ("/dev/pts/0", 0), done
    assert "sleep 100" in docker("top", name).stdout
    assert docker("rm", "-f", name).returncode == 0


def test_stop_and_rm(docker: Docker) -> None:
    name = docker.background("sh", "-c", "trap 'exit 5' TERM; while :; do sleep 0.1; done")
    assert docker.status(name) == "running 0"
    assert docker("stop", name).returncode == 0
    assert docker.status(name) == "exited 5"
    assert docker("rm", name).returncode == 0


def test_kill_and_pause(docker: Docker) -> None:
    name = docker.background("sh", "-c", "trap 'exit 6' USR1; while :; do sleep 0.1; done")
    done = docker("pause", name)
    assert done.returncode == 0, done.stderr
    assert docker.status(name) == "paused 0"
    assert docker("unpause", name).returncode == 0
    assert docker("kill", "-s", "USR1", name).returncode == 0
    assert docker("wait", name).stdout == "6\n"
    assert docker("rm", name).returncode == 0


def test_update(docker: Docker) -> None:
    if docker.sandbox.run(str(RUNTIME), "update", "--help").returncode != 0:
        pytest.skip(f"{RUNTIME.name} has no update")
    name = docker.background("sleep", "100")
    limits = ["--memory", "128m", "--memory-swap", "256m", "--cpu-shares", "256"]
    done = docker("update", *limits, name)
    assert done.returncode == 0, done.stderr
    assert docker("rm", "-f", name).returncode == 0


def test_ctr(docker: Docker) -> None:
    saved = docker.work / "saved.tar"
    assert docker("save", "-o", str(saved), "busybox:test").returncode == 0
    done = docker.ctr("image", "import", str(saved))
    assert done.returncode == 0, done.stderr
    run = ["--runtime", "io.containerd.runc.v2", "--runc-binary", str(RUNTIME)]
    run += ["--cgroup", f"/{docker.sandbox.name}/ctr", "docker.io/library/busybox:test"]
    done = docker.ctr("run", "--rm", *run, f"{docker.sandbox.name}-ctr", "sh", "-c", "echo hello; exit 3")
    assert (done.stdout, done.returncode) == ("hello\n", 3), done.stderr
    done = docker.ctr("run", "-d", *run, f"{docker.sandbox.name}-bg", "sleep", "100")
    assert done.returncode == 0, done.stderr
    done = docker.ctr("task", "exec", "--exec-id", "e1", f"{docker.sandbox.name}-bg", "id", "-u")
    assert done.stdout == "0\n", done.stderr
    done = docker.ctr("task", "rm", "-f", f"{docker.sandbox.name}-bg")
    assert done.returncode == 0, done.stderr
