"""Containers under containerd, by ctr."""

from __future__ import annotations

import time

from .. import host
from ..engine import Engine, ok
from ..images import IMAGE
from . import check


@check("run", "containerd")
def run(engine: Engine) -> None:
    done = engine.run("--rm", IMAGE, "sh", "-c", "echo hello; echo oops >&2; exit 3")
    assert (done.stdout, done.stderr, done.returncode) == ("hello\n", "oops\n", 3)


@check("run -t", "containerd")
def run_tty(engine: Engine) -> None:
    words = engine.words(("--rm", "-t", IMAGE, "sh", "-c", "tty; exit 4"))  # type: ignore[attr-defined]
    done = engine.tty(*words)
    assert (done.stdout, done.returncode) == ("/dev/pts/0\n", 4), done


@check("run of what cannot be executed", "containerd")
def run_missing(engine: Engine) -> None:
    done = engine.run("--rm", IMAGE, "nosuchcommand")
    assert done.returncode == 1 and "executable file not found in $PATH" in done.stderr, done.stderr


@check("exec", "containerd")
def exec_(engine: Engine) -> None:
    with engine.container() as name:
        done = engine("task", "exec", "--exec-id", "e1", name, "sh", "-c", "id -u; exit 5")
        assert (done.stdout, done.returncode) == ("0\n", 5), done.stderr
        done = engine(
            "task",
            "exec",
            "--exec-id",
            "e2",
            "--cwd",
            "/tmp",
            "--user",
            "1000",
            name,
            "sh",
            "-c",
            "pwd; id -u",
        )
        assert done.stdout == "/tmp\n1000\n", done.stderr


@check("exec -t", "containerd")
def exec_tty(engine: Engine) -> None:
    with engine.container() as name:
        done = engine.tty("task", "exec", "-t", "--exec-id", "e1", name, "tty")
        assert "/dev/pts/0\n" in done.stdout, done


@check("kill", "containerd")
def kill(engine: Engine) -> None:
    with engine.container(command=("sh", "-c", "trap 'exit 6' USR1; while :; do sleep 0.1; done")) as name:
        time.sleep(0.2)
        ok(engine("task", "kill", "-s", "SIGUSR1", name))
        end = time.monotonic() + 5
        while engine.status(name) != "stopped":
            assert time.monotonic() < end
            time.sleep(0.1)
        assert "exit code 6" in engine("task", "rm", name).stderr


@check("kill --all, rm -f", "containerd")
def kill_all(engine: Engine) -> None:
    with engine.container(command=("sh", "-c", "sleep 1000 & wait")) as name:
        ok(engine("task", "kill", "-a", "-s", "SIGKILL", name))
        engine("task", "rm", "-f", name)
        assert engine.status(name) == ""
        assert not [cgroup for cgroup in engine.sandbox.cgroups() if name in cgroup]


@check("pause, resume", "containerd")
def pause(engine: Engine) -> None:
    with engine.container() as name:
        ok(engine("task", "pause", name))
        assert engine.status(name) == "paused"
        ok(engine("task", "resume", name))
        assert engine.status(name) == "running"


@check("ps", "containerd")
def ps(engine: Engine) -> None:
    with engine.container(command=("sh", "-c", "sleep 1000 & wait")) as name:
        time.sleep(0.2)
        assert len(ok(engine("task", "ps", name)).splitlines()) == 3


@check("metrics", "containerd", host.cgroup("memory"))
def metrics(engine: Engine) -> None:
    with engine.container() as name:
        text = ok(engine("task", "metrics", name))
        assert "memory.usage_in_bytes" in text, text


@check("limits", "containerd", host.cgroup("memory"))
def limits(engine: Engine) -> None:
    with engine.container("--memory-limit", str(32 << 20), "--cpus", "0.5") as name:
        file = f"/sys/fs/cgroup/memory/{engine.sandbox.name}/{name}/memory.limit_in_bytes"
        assert ok(engine.sandbox.run("cat", file)) == f"{32 << 20}\n"


@check("--privileged", "containerd")
def privileged(engine: Engine) -> None:
    assert engine.output("--privileged", IMAGE, "sh", "-c", "mount -t tmpfs x /tmp && echo ok") == "ok"


@check("--cap-add, --cap-drop", "containerd")
def caps(engine: Engine) -> None:
    text = engine.output(
        "--cap-add", "CAP_SYS_ADMIN", "--cap-drop", "CAP_CHOWN", IMAGE, "grep", "CapEff", "/proc/self/status"
    )
    effective = int(text.split()[1], 16)
    assert effective >> 21 & 1 and not effective & 1, text


@check("--seccomp", "containerd")
def seccomp(engine: Engine) -> None:
    assert engine.output("--seccomp", IMAGE, "grep", "Seccomp:", "/proc/self/status").split()[1] == "2"


@check("--read-only, --mount, --env, --cwd", "containerd")
def settings(engine: Engine) -> None:
    mount = f"type=bind,src={engine.work},dst=/data,options=rbind:ro"
    options = "--read-only", "--mount", mount, "--env", "A=b", "--cwd", "/tmp"
    script = "touch /x || touch /data/x || echo refused; echo $A; pwd"
    assert engine.output(*options, IMAGE, "sh", "-c", script) == "refused\nb\n/tmp"


@check("--device", "containerd")
def device(engine: Engine) -> None:
    engine.output("--device", "/dev/zero", IMAGE, "head", "-c1", "/dev/zero")


@check("--net-host", "containerd")
def net_host(engine: Engine) -> None:
    link = ok(engine.sandbox.run("readlink", "/proc/self/ns/net")).strip()
    assert engine.output("--net-host", IMAGE, "readlink", "/proc/self/ns/net") == link


COUNT = ("sh", "-c", "i=0; while :; do i=$((i + 1)); echo $i >/count; sleep 0.1; done")


@check("checkpoint, restore", "containerd", host.criu, slow=True)
def checkpoint(engine: Engine) -> None:
    """As an image: with what the container has written, and its processes."""
    with engine.container(command=COUNT) as name:
        image, again = f"localhost/{name}:checkpoint", f"{name}-again"
        ok(engine("container", "checkpoint", "--rw", "--image", "--task", name, image))
        ok(engine("task", "rm", "-f", name))
        try:
            ok(engine("container", "restore", "--rw", "--live", again, image))
            assert engine.status(again) == "running"
            ok(engine("task", "exec", "--exec-id", "look", again, "test", "-s", "/count"))
        finally:
            engine("task", "rm", "-f", again)
            engine("container", "rm", again)
