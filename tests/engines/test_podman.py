"""podman and buildah with this runtime, in private namespaces and with the cgroupfs manager."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from subprocess import CompletedProcess

import pytest

from .sandbox import BUSYBOX, RUNTIME, Sandbox, busybox_image

pytestmark = [
    pytest.mark.skipif(not shutil.which("podman"), reason="podman is not installed"),
    pytest.mark.skipif(not shutil.which("conmon"), reason="conmon is not installed"),
    pytest.mark.skipif(not BUSYBOX.exists(), reason="busybox-static is not installed"),
]

CONTAINERS = """
[containers]
log_driver = "k8s-file"
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime_supports_json = ["{runtime.name}"]
conmon_env_vars = ["PATH={path}"]
tmp_dir = "{work}/tmp"
[network]
network_config_dir = "{work}/net.d"
"""

STORAGE = """
[storage]
driver = "{driver}"
graphroot = "{work}/root"
runroot = "{work}/runroot"
"""

IMAGE = "localhost/busybox"


class Podman:
    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.names = 0
        work, environment = sandbox.work, sandbox.environment
        names = {"runtime": RUNTIME, "path": environment["PATH"], "work": work}
        (work / "containers.conf").write_text(CONTAINERS.format(**names))
        environment["CONTAINERS_CONF"] = str(work / "containers.conf")
        environment["CONTAINERS_STORAGE_CONF"] = str(work / "storage.conf")
        environment["PODMAN_IGNORE_CGROUPSV1_WARNING"] = "1"
        tar = busybox_image(work / "busybox.tar")
        for driver in ("overlay", "vfs"):  # no overlay on an overlay
            (work / "storage.conf").write_text(STORAGE.format(driver=driver, work=work))
            imported = self("import", "--change", 'CMD ["/bin/sh"]', str(tar), IMAGE)
            if imported.returncode == 0:
                return
        pytest.skip(f"podman cannot store an image here: {imported.stderr.strip()}")

    def __call__(self, *words: str, **more: str) -> CompletedProcess[str]:
        return self.sandbox.run("podman", "--runtime", str(RUNTIME), *words, **more)

    def options(self) -> list[str]:
        return ["--network", "none", "--cgroup-parent", f"/{self.sandbox.name}"]

    def run(self, *words: str, **more: str) -> CompletedProcess[str]:
        return self("run", *self.options(), *words, **more)

    def background(self, *command: str) -> str:
        """The name of a container that was just started."""
        self.names += 1
        name = f"{self.sandbox.name}-{self.names}"
        started = self.run("-d", "--name", name, IMAGE, *command)
        assert started.returncode == 0, started.stderr
        return name

    def on_terminal(self, *words: str) -> CompletedProcess[str]:
        return self.sandbox.on_terminal(" ".join(["podman", "--runtime", str(RUNTIME), *words]))

    def status(self, name: str) -> str:
        form = "{{.State.Status}} {{.State.ExitCode}}"
        return self("inspect", "--format", form, name).stdout.strip()


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    sandbox = Sandbox()
    try:
        yield Podman(sandbox)
    finally:
        sandbox.close()


def test_run_gives_output_and_exit_status(podman: Podman) -> None:
    done = podman.run("--rm", IMAGE, "sh", "-c", "echo hello; echo oops >&2; exit 7")
    assert (done.stdout, done.stderr, done.returncode) == ("hello\n", "oops\n", 7)


def test_run_passes_stdin(podman: Podman) -> None:
    assert podman.run("-i", "--rm", IMAGE, "cat", stdin="through\n").stdout == "through\n"


@pytest.mark.parametrize(
    ("command", "code"), [("nosuchcommand", 127), ("/no/such", 127), ("/etc/passwd", 126)]
)
def test_run_of_what_cannot_be_executed(podman: Podman, command: str, code: int) -> None:
    done = podman.run("--rm", IMAGE, command)
    assert done.returncode == code, done.stderr


def test_run_on_a_terminal(podman: Podman) -> None:
    done = podman.on_terminal("run", *podman.options(), "-it", "--rm", IMAGE, "tty")
    assert (done.stdout.strip(), done.returncode) == ("/dev/pts/0", 0), done


def test_run_with_memory_and_pids_limits(podman: Podman) -> None:
    name = podman.background("sleep", "100")
    assert podman("rm", "-f", "-t", "0", name).returncode == 0
    done = podman.run("--rm", "--memory", "64m", "--pids-limit", "50", IMAGE, "cat", "/proc/self/cgroup")
    assert done.returncode == 0, done.stderr


def test_run_with_volume_tmpfs_and_user(podman: Podman) -> None:
    share = podman.sandbox.work / "share"
    share.mkdir()
    (share / "file").write_text("shared\n")
    done = podman.run(
        "--rm", "-v", f"{share}:/data:ro", "--tmpfs", "/scratch", "--user", "12:34", "--read-only",
        IMAGE, "sh", "-c", "cat /data/file; id -u; id -g; touch /data/x || echo refused",
    )  # fmt: skip
    assert done.stdout == "shared\n12\n34\nrefused\n", done.stderr


def test_run_with_a_hostname(podman: Podman) -> None:
    done = podman.run("--rm", "--hostname", "there", IMAGE, "hostname")
    assert done.stdout == "there\n", done.stderr


def test_privileged(podman: Podman) -> None:
    done = podman.run("--rm", "--privileged", IMAGE, "sh", "-c", "mount -t tmpfs x /tmp && echo ok")
    assert done.stdout == "ok\n", done.stderr


def test_exec(podman: Podman) -> None:
    name = podman.background("sleep", "100")
    done = podman("exec", "-e", "A=b", name, "sh", "-c", "echo $A; exit 3")
    assert (done.stdout, done.returncode) == ("b\n", 3), done.stderr
    assert podman("exec", "-i", name, "cat", stdin="in\n").stdout == "in\n"
    assert podman("exec", name, "nosuchcommand").returncode == 127
    assert podman("exec", name, "/etc/passwd").returncode == 126
    done = podman.on_terminal("exec", "-it", name, "tty")
    assert (done.stdout.strip(), done.returncode) == ("/dev/pts/0", 0), done
    assert podman("rm", "-f", "-t", "0", name).returncode == 0


def test_stop_and_rm(podman: Podman) -> None:
    name = podman.background("sh", "-c", "trap 'exit 5' TERM; while :; do sleep 0.1; done")
    assert podman.status(name) == "running 0"
    assert podman("stop", name).returncode == 0
    assert podman.status(name) == "exited 5"
    assert podman("rm", name).returncode == 0
    assert podman("container", "exists", name).returncode == 1


def test_stop_kills_after_the_timeout(podman: Podman) -> None:
    name = podman.background("sleep", "100")
    assert podman("stop", "-t", "1", name).returncode == 0
    assert podman.status(name) == "exited 137"
    assert podman("rm", name).returncode == 0


def test_kill(podman: Podman) -> None:
    name = podman.background("sh", "-c", "trap 'exit 6' USR1; while :; do sleep 0.1; done")
    assert podman("kill", "-s", "USR1", name).returncode == 0
    assert podman("wait", name).stdout == "6\n"
    assert podman("rm", name).returncode == 0


def test_pause(podman: Podman) -> None:
    name = podman.background("sleep", "100")
    done = podman("pause", name)
    assert done.returncode == 0, done.stderr
    assert podman.status(name) == "paused 0"
    assert podman("unpause", name).returncode == 0
    assert podman.status(name) == "running 0"
    assert podman("pause", name).returncode == 0
    done = podman("rm", "-f", "-t", "0", name)
    assert done.returncode == 0, done.stderr


def test_rm_force_leaves_nothing(podman: Podman) -> None:
    name = podman.background("sleep", "100")
    identity = podman("inspect", "--format", "{{.Id}}", name).stdout.strip()
    done = podman("rm", "-f", "-t", "0", name)
    assert done.returncode == 0, done.stderr
    assert podman.sandbox.run("sh", "-c", f"find /sys/fs/cgroup -name '*libpod-{identity}'").stdout == ""
    assert podman.sandbox.run("ls", f"/run/{RUNTIME.name}").stdout.split() == []


def test_build(podman: Podman) -> None:
    folder = podman.sandbox.work / "build"
    folder.mkdir()
    (folder / "Containerfile").write_text(
        f'FROM {IMAGE}\nRUN echo built > /made && id -u >> /made\nCMD ["cat", "/made"]\n'
    )
    done = podman("build", "--network", "none", "-t", "localhost/made", str(folder))
    assert done.returncode == 0, done.stderr
    assert podman.run("--rm", "localhost/made").stdout == "built\n0\n"


@pytest.mark.skipif(not shutil.which("buildah"), reason="buildah is not installed")
def test_buildah(podman: Podman) -> None:
    sandbox = podman.sandbox
    name = sandbox.run("buildah", "from", IMAGE).stdout.strip()
    buildah = ("buildah", "run", "--runtime", str(RUNTIME), "--network", "none")
    done = sandbox.run(*buildah, name, "--", "sh", "-c", "echo hi; exit 4")
    assert (done.stdout, done.returncode) == ("hi\n", 4), done.stderr
    done = sandbox.on_terminal(" ".join([*buildah, "--tty", name, "--", "tty"]))
    assert done.stdout.strip().startswith("/dev/"), done
    assert sandbox.run("buildah", "rm", name).returncode == 0
