"""What containers may and may not: settings of podman and docker."""

from __future__ import annotations

import json
import time

from .. import host
from ..engine import Engine, ok
from ..images import IMAGE
from . import check

BOTH = "podman docker"


def capabilities(engine: Engine, *options: str) -> int:
    text = engine.output(*options, IMAGE, "grep", "CapEff", "/proc/self/status")
    return int(text.split()[1], 16)


@check("--privileged", BOTH)
def privileged(engine: Engine) -> None:
    text = engine.output("--privileged", IMAGE, "sh", "-c", "mount -t tmpfs x /tmp && echo ok; ls /dev/kmsg")
    assert text == "ok\n/dev/kmsg", text


@check("--cap-drop, --cap-add", BOTH)
def caps(engine: Engine) -> None:
    assert capabilities(engine, "--cap-drop", "all") == 0
    assert (
        capabilities(engine, "--cap-drop", "all", "--cap-add", "net_raw", "--cap-add", "chown") == 1 << 13 | 1
    )
    assert capabilities(engine) >> 21 & 1 == 0
    assert capabilities(engine, "--cap-add", "sys_admin") >> 21 & 1 == 1


@check("a user's capabilities", BOTH)
def caps_user(engine: Engine) -> None:
    assert capabilities(engine, "--user", "1000") == 0


@check("seccomp: the default profile", BOTH)
def seccomp_default(engine: Engine) -> None:
    assert engine.output(IMAGE, "grep", "Seccomp:", "/proc/self/status").split()[1] == "2"


@check("seccomp: a profile", BOTH)
def seccomp_profile(engine: Engine) -> None:
    profile = engine.work / "seccomp.json"
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 42}
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    done = engine.run("--rm", "--security-opt", f"seccomp={profile}", IMAGE, "mkdir", "/tmp/x")
    assert "No message of desired type" in done.stderr, done.stderr


@check("seccomp: unconfined", BOTH)
def seccomp_unconfined(engine: Engine) -> None:
    text = engine.output(
        "--security-opt", "seccomp=unconfined", IMAGE, "grep", "Seccomp:", "/proc/self/status"
    )
    assert text.split()[1] == "0"


@check("no-new-privileges", BOTH)
def no_new_privileges(engine: Engine) -> None:
    option = "--security-opt", "no-new-privileges"
    assert engine.output(*option, IMAGE, "grep", "NoNewPrivs", "/proc/self/status").split()[1] == "1"


@check("--read-only", BOTH)
def read_only(engine: Engine) -> None:
    assert engine.run("--rm", "--read-only", IMAGE, "touch", "/x").returncode == 1
    engine.output("--read-only", "--tmpfs", "/scratch", IMAGE, "touch", "/scratch/x")


@check("--tmpfs", BOTH)
def tmpfs(engine: Engine) -> None:
    text = engine.output(
        "--tmpfs", "/scratch:size=64k,mode=1700,noexec", IMAGE, "grep", "/scratch", "/proc/mounts"
    )
    assert "size=64k" in text and "mode=1700" in text and "noexec" in text, text


@check("--tmpfs keeps what the image has there", "podman")
def tmpfs_copy(engine: Engine) -> None:
    assert engine.output("--tmpfs", "/etc:tmpcopyup", IMAGE, "head", "-n1", "/etc/passwd").startswith("root:")


@check("--device", BOTH)
def device(engine: Engine) -> None:
    text = engine.output(
        "--device", "/dev/null:/dev/nothing:r", IMAGE, "sh", "-c", "cat /dev/nothing; ls -l /dev/nothing"
    )
    assert text.startswith("c") and "1,   3" in text, text


@check("devices that are not given are refused", BOTH, host.cgroup("devices"))
def device_refused(engine: Engine) -> None:
    made = "mknod /tmp/kmsg c 1 11 && head -c1 /tmp/kmsg"
    done = engine.run("--rm", "--cap-add", "mknod", IMAGE, "sh", "-c", made)
    assert "Operation not permitted" in done.stderr, done.stderr
    rule = "--device-cgroup-rule", "c 1:5 rwm"
    engine.output(
        *rule, "--cap-add", "mknod", IMAGE, "sh", "-c", "mknod /tmp/z c 1 5 && head -c1 /tmp/z >/dev/null"
    )


@check("--ulimit", BOTH)
def ulimit(engine: Engine) -> None:
    # Without nproc, podman 4.3 asks for more processes than it may have itself.
    limits = "--ulimit", "nofile=100:200", "--ulimit", "nproc=1000:1000", "--ulimit", "core=0"
    assert engine.output(*limits, IMAGE, "sh", "-c", "ulimit -n; ulimit -Hn; ulimit -c") == "100\n200\n0"


@check("--sysctl", BOTH)
def sysctl(engine: Engine) -> None:
    options = "--sysctl", "net.ipv4.ip_unprivileged_port_start=80", "--sysctl", "kernel.msgmax=4096"
    files = "/proc/sys/net/ipv4/ip_unprivileged_port_start", "/proc/sys/kernel/msgmax"
    assert engine.output(*options, IMAGE, "cat", *files) == "80\n4096"


@check("user namespaces", "podman")
def user_namespace(engine: Engine) -> None:
    maps = "--uidmap", "0:200000:5000", "--gidmap", "0:200000:5000"
    text = engine.output(
        *maps, IMAGE, "sh", "-c", "cat /proc/self/uid_map; id -u; touch /root/mine && echo ok"
    )
    assert text.split() == ["0", "200000", "5000", "0", "ok"], text


@check("user namespaces: exec", "podman")
def user_namespace_exec(engine: Engine) -> None:
    maps = "--uidmap", "0:200000:5000", "--gidmap", "0:200000:5000"
    with engine.container(*maps) as name:
        assert ok(engine("exec", "-u", "12", name, "id", "-u")) == "12\n"
        done = engine.tty("exec", "-it", name, "tty")
        assert done.stdout == "/dev/pts/0\n", done.stdout


@check("user namespaces: userns-remap", "docker", slow=True)
def userns_remap(engine: Engine) -> None:
    sandbox = engine.sandbox
    for file in "/etc/subuid", "/etc/subgid":
        ok(
            sandbox.run(
                "sh",
                "-c",
                f"echo daemon:300000:65536 >{engine.work}/ids; mount --bind {engine.work}/ids {file}",
            )
        )
    names = {"containerd-namespace": "remapped", "containerd-plugins-namespace": "plugins.remapped"}
    more = {"userns-remap": "daemon", "bridge": "none", "iptables": False, **names}
    program = engine.daemon("remapped", "unshare", "-n", **more)  # type: ignore[attr-defined]
    tar = str(engine.work / "busybox.tar")
    ok(sandbox.run(*program, "import", tar, IMAGE))
    options = ["--network", "none", "--cgroup-parent", f"/{sandbox.name}", "--rm"]
    done = sandbox.run(
        *program, "run", *options, IMAGE, "sh", "-c", "cat /proc/self/uid_map; touch /root/x && echo ok"
    )
    assert ok(done).split() == ["0", "300000", "65536", "ok"], done.stdout


@check("--user, --group-add", BOTH)
def user(engine: Engine) -> None:
    assert engine.output("--user", "12:34", IMAGE, "sh", "-c", "id -u; id -g") == "12\n34"
    assert engine.output("--user", "guest", "--group-add", "77", IMAGE, "id", "-G") == "1000 77 2000"


@check("--workdir, --env, --hostname", BOTH)
def surroundings(engine: Engine) -> None:
    options = "--workdir", "/tmp", "--env", "A=b c", "--hostname", "named"
    assert engine.output(*options, IMAGE, "sh", "-c", "pwd; echo $A; hostname") == "/tmp\nb c\nnamed"


@check("--workdir that the image has not got", "docker")
def workdir(engine: Engine) -> None:
    assert engine.output("--workdir", "/new/there", IMAGE, "pwd") == "/new/there"


@check("--memory", BOTH, host.cgroup("memory"))
def memory(engine: Engine) -> None:
    done = engine.run(
        "--rm", "--memory", "16m", "--memory-swap", "16m", IMAGE, "sh", "-c", "head -c 64m /dev/zero | tail"
    )
    assert done.returncode != 0
    with engine.container("--memory", "16m", command=("sh", "-c", "exec tail /dev/zero")) as name:
        engine.until("exited 137", name)


@check("--pids-limit", BOTH, host.cgroup("pids"))
def pids(engine: Engine) -> None:
    forks = "for i in 1 2 3 4 5 6 7 8 9; do sleep 3 & done"
    assert "fork" in engine.run("--rm", "--pids-limit", "5", IMAGE, "sh", "-c", forks).stderr


@check("--cpus, --cpu-shares, --cpuset-cpus", BOTH, host.cgroup("cpuset"))
def cpu(engine: Engine) -> None:
    options = "--cpus", "0.5", "--cpu-shares", "300", "--cpuset-cpus", "0"
    text = engine.output(*options, IMAGE, "sh", "-c", "grep Cpus_allowed_list /proc/self/status")
    assert text.split()[1] == "0"


@check("--cgroups disabled", "podman")
def no_cgroup(engine: Engine) -> None:
    options = "run", "--rm", "--network", "none", "--cgroups", "disabled", IMAGE
    text = ok(engine(*options, "sh", "-c", "cat /proc/self/cgroup; ls /proc/self/fd"))
    assert engine.sandbox.name not in text and "libpod" not in text, text


@check("--cgroupns private", BOTH)
def cgroup_namespace(engine: Engine) -> None:
    text = engine.output("--cgroupns", "private", IMAGE, "grep", "-c", ":/$", "/proc/self/cgroup")
    assert int(text) > 0


@check("--volume: a folder", BOTH)
def volume_bind(engine: Engine) -> None:
    share = engine.work / "share"
    share.mkdir()
    (share / "file").write_text("shared\n")
    script = "cat /data/file; touch /data/x || echo refused"
    assert engine.output("-v", f"{share}:/data:ro", IMAGE, "sh", "-c", script) == "shared\nrefused"
    engine.output("-v", f"{share}:/data", IMAGE, "touch", "/data/written")
    assert (share / "written").exists()


@check("--volume: a file", BOTH)
def volume_file(engine: Engine) -> None:
    file = engine.work / "one-file"
    file.write_text("alone\n")
    assert engine.output("-v", f"{file}:/etc/new/name", IMAGE, "cat", "/etc/new/name") == "alone"


@check("--volume: named", BOTH)
def volume_named(engine: Engine) -> None:
    ok(engine("volume", "create", "kept"))
    engine.output("-v", "kept:/data", IMAGE, "touch", "/data/x")
    engine.output("-v", "kept:/data", IMAGE, "test", "-e", "/data/x")
    ok(engine("volume", "rm", "kept"))


@check("--volume: rslave", BOTH)
def volume_slave(engine: Engine) -> None:
    outer = engine.work / "outer"
    (outer / "inner").mkdir(parents=True)
    ok(engine.sandbox.run("sh", "-c", f"mount --bind {outer} {outer} && mount --make-shared {outer}"))
    with engine.container("-v", f"{outer}:/data:rslave") as name:
        ok(engine.sandbox.run("mount", "-t", "tmpfs", "late", f"{outer}/inner"))
        assert "late" in ok(engine("exec", name, "grep", "/data/inner", "/proc/mounts"))
    engine.sandbox.run("umount", "-R", str(outer))


@check("--volume: all of the host, rslave", BOTH)
def volume_host(engine: Engine) -> None:
    """As monitoring has it. The host shares its mounts, as systemd's hosts do, and keeps them."""

    def mounts() -> list[str]:
        lines = ok(engine.sandbox.run("cat", "/proc/self/mountinfo")).splitlines()
        return [line for line in lines if str(engine.work) not in line and " /run/" not in line]

    before = mounts()
    assert "proc" in engine.output("-v", "/:/host:ro,rslave", IMAGE, "ls", "/host").split()
    assert mounts() == before


@check("--mount type=bind,readonly", BOTH)
def mount_bind(engine: Engine) -> None:
    option = "--mount", f"type=bind,source={engine.work},target=/data,readonly"
    assert engine.run("--rm", *option, IMAGE, "touch", "/data/x").returncode == 1


@check("--shm-size", BOTH)
def shm(engine: Engine) -> None:
    assert "size=1024k" in engine.output("--shm-size", "1m", IMAGE, "grep", "/dev/shm", "/proc/mounts")


@check("--pid host, --ipc host, --uts host", BOTH)
def host_namespaces(engine: Engine) -> None:
    links = "for kind in pid ipc uts; do readlink /proc/self/ns/$kind; done"
    outside = ok(engine.sandbox.run("sh", "-c", links))
    options = "--pid", "host", "--ipc", "host", "--uts", "host"
    assert engine.output(*options, IMAGE, "sh", "-c", links) == outside.rstrip()


@check("--pid container:, --ipc container:", BOTH)
def joined_namespaces(engine: Engine) -> None:
    with engine.container("--ipc", "shareable") as name:
        joined = engine.output("--pid", f"container:{name}", "--ipc", f"container:{name}", IMAGE, "ps")
        assert "sleep 1000" in joined


@check("--oom-score-adj", BOTH)
def oom_score(engine: Engine) -> None:
    assert engine.output("--oom-score-adj", "300", IMAGE, "cat", "/proc/self/oom_score_adj") == "300"


@check("masked and read-only paths", BOTH)
def masked(engine: Engine) -> None:
    script = "cat /proc/kcore | wc -c; echo 1 >/proc/sysrq-trigger || echo refused"
    done = engine.run("--rm", IMAGE, "sh", "-c", script)
    assert done.stdout == "0\nrefused\n", done.stdout + done.stderr


@check("hooks", "podman")
def hooks(engine: Engine) -> None:
    folder = engine.work / "hooks.d"
    folder.mkdir()
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"cat >{engine.work}/hook-saw"]}
    entry = {"version": "1.0.0", "hook": hook, "when": {"always": True}, "stages": ["prestart"]}
    (folder / "see.json").write_text(json.dumps(entry))
    done = engine.sandbox.run(
        "podman", "--runtime", engine.runtime, "--hooks-dir", str(folder),
        "run", *engine.options(()), "--rm", IMAGE, "true",
    )  # fmt: skip
    ok(done)
    seen = json.loads((engine.work / "hook-saw").read_text())
    assert seen["status"] in ("creating", "created") and seen["pid"] > 0, seen


@check("events: the OOM killer", "docker", host.cgroup("memory"), slow=True)
def oom_event(engine: Engine) -> None:
    with engine.container("--memory", "16m", command=("sh", "-c", "exec tail /dev/zero")) as name:
        engine.until("exited 137", name)
        time.sleep(0.2)
        assert engine.inspect(name, ".State.OOMKilled") == "true"
