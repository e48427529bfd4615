"""config.json's `process`: who the program is, and what it finds."""

from __future__ import annotations

import os
import sys

import pytest

from tests.integration.harness import CAPABILITY_SETS, CGROUPS, Runtime, peers_differ, pyrunc_only


def status_field(text: str, name: str) -> str:
    """A field of /proc/self/status."""
    (line,) = [line for line in text.splitlines() if line.startswith(name + ":")]
    return line.split(":", 1)[1].strip()


@pytest.mark.spec("process.user")
def test_user_and_groups(runtime: Runtime) -> None:
    container = runtime.sh("id -u; id -g; grep Groups /proc/self/status")
    user = {"uid": 1000, "gid": 1001, "additionalGids": [5, 6]}
    container.config["process"]["user"] = user
    uid, gid, groups = container.run().ok().lines
    assert (uid, gid) == ("1000", "1001")
    assert set(groups.split()[1:]) >= {"5", "6"}


@pytest.mark.spec("process.user")
def test_no_groups_of_the_caller(runtime: Runtime) -> None:
    container = runtime.container("/bin/cat", "/proc/self/status")
    status = container.run(extra_groups=[41, 42]).ok().stdout
    assert status_field(status, "Groups") in ("", "0")


@pytest.mark.spec("process.user.umask")
@pytest.mark.parametrize("umask", [0o022, 0o077, 0])
def test_umask(runtime: Runtime, umask: int) -> None:
    container = runtime.sh("umask")
    container.config["process"]["user"]["umask"] = umask
    assert int(container.run().ok().stdout, 8) == umask


@pytest.mark.spec("process.cwd")
def test_cwd(runtime: Runtime) -> None:
    container = runtime.container("/bin/pwd")
    container.config["process"]["cwd"] = "/tmp"
    assert container.run().ok().stdout == "/tmp\n"


@pytest.mark.spec("process.cwd")
def test_cwd_is_made(runtime: Runtime) -> None:
    container = runtime.container("/bin/pwd")
    container.config["process"]["cwd"] = "/made/for/it"
    assert container.run().ok().stdout == "/made/for/it\n"


@pytest.mark.spec("process.env")
def test_environment_is_only_what_is_configured(runtime: Runtime) -> None:
    container = runtime.container("/bin/cat", "/proc/self/environ")
    container.config["process"]["env"] = ["PATH=/bin", "HOME=/x", "EMPTY=", "SPACE=a b"]
    answer = container.run(env={**os.environ, "LEAK": "1"}).ok().stdout
    assert answer.rstrip("\0").split("\0") == container.config["process"]["env"]


@pytest.mark.spec("process.env")
def test_an_empty_home_is_none(runtime: Runtime) -> None:
    """Engines write one where they found no home."""
    peers_differ("crun", why="it keeps an empty HOME")
    container = runtime.container("/bin/sh", "-c", "env | grep HOME")
    container.config["process"]["env"] = ["PATH=/bin", "HOME=/x", "HOME="]
    assert container.run().ok().lines == ["HOME=/root"]


@pytest.mark.spec("process.args")
def test_arguments_are_passed_on_unchanged(runtime: Runtime) -> None:
    args = ["/bin/printf", "[%s]", "a b", "", "--", "ü", "$HOME"]
    assert runtime.container(*args).run().ok().stdout == "[a b][][--][ü][$HOME]"


@pytest.mark.spec("process.rlimits")
def test_rlimits(runtime: Runtime) -> None:
    container = runtime.container("/bin/cat", "/proc/self/limits")
    container.config["process"]["rlimits"] = [
        {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
    ]
    limits = {line[:25].strip(): line[25:].split() for line in container.run().ok().lines}
    assert limits["Max open files"][:2] == ["100", "200"]
    assert limits["Max core file size"][:2] == ["0", "0"]


@pytest.mark.spec("process.capabilities")
def test_capabilities(runtime: Runtime) -> None:
    container = runtime.container("/bin/cat", "/proc/self/status")
    for name in CAPABILITY_SETS:
        container.config["process"]["capabilities"][name] = ["CAP_CHOWN", "CAP_KILL"]
    status = container.run().ok().stdout
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status_field(status, name), 16) == 1 << 0 | 1 << 5, name


def test_no_capabilities_when_there_are_none(runtime: Runtime) -> None:
    container = runtime.container("/bin/cat", "/proc/self/status")
    container.config["process"]["capabilities"] = {}
    status = container.run().ok().stdout
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status_field(status, name), 16) == 0, name


@pytest.mark.spec("process.capabilities")
def test_ambient_capabilities_of_a_user(runtime: Runtime) -> None:
    container = runtime.container("/bin/cat", "/proc/self/status")
    container.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    for name in CAPABILITY_SETS:
        container.config["process"]["capabilities"][name] = ["CAP_NET_BIND_SERVICE"]
    assert int(status_field(container.run().ok().stdout, "CapEff"), 16) == 1 << 10


@pytest.mark.spec("process.noNewPrivileges")
@pytest.mark.parametrize("value", [True, False])
def test_no_new_privileges(runtime: Runtime, value: bool) -> None:
    container = runtime.container("/bin/cat", "/proc/self/status")
    container.config["process"]["noNewPrivileges"] = value
    assert status_field(container.run().ok().stdout, "NoNewPrivs") == str(int(value))


@pytest.mark.spec("process.oomScoreAdj")
def test_oom_score_adj(runtime: Runtime) -> None:
    container = runtime.container("/bin/cat", "/proc/self/oom_score_adj")
    container.config["process"]["oomScoreAdj"] = 500
    assert container.run().ok().stdout == "500\n"


@pytest.mark.spec("CR-15")
def test_only_the_standard_files_are_open(runtime: Runtime) -> None:
    read, write = os.pipe()
    os.set_inheritable(write, True)
    try:
        # ls itself opens one more.
        answer = runtime.sh("exec ls /proc/self/fd").run(pass_fds=(write,)).ok()
    finally:
        os.close(read)
        os.close(write)
    assert answer.lines == ["0", "1", "2", "3"]


@pytest.mark.spec("CR-15", "LX-2")
def test_preserve_fds(runtime: Runtime) -> None:
    container = runtime.sh("echo through >&3")
    file = container.bundle / "out"
    opener = ("/bin/sh", "-c", f'exec "$@" 3>{file}', "sh")
    container.run("--preserve-fds", "1", prefix=opener).ok()
    assert file.read_text() == "through\n"


@pyrunc_only
def test_the_log_is_not_preserved(runtime: Runtime) -> None:
    """It has the first free number, 3: but the container was to get a descriptor of the caller's."""
    container = runtime.sh("true")
    container.write()
    log = container.bundle / "log"
    line = ("--log", str(log), "run", "--bundle", str(container.bundle), "--preserve-fds", "1", container.id)
    assert "3 is to be passed on" in runtime(*line).failed().stderr


def test_no_more_than_the_preserved_are_open(runtime: Runtime) -> None:
    container = runtime.sh("ls /proc/1/fd; true")
    (container.bundle / "file").touch()
    opener = ("/bin/sh", "-c", f'exec "$@" 3<{container.bundle}/file 4<&3 5<&3', "sh")
    numbers = container.run("--preserve-fds", "1", prefix=opener).ok().lines
    assert set(numbers) == {"0", "1", "2", "3"}


def test_signals_are_reset(runtime: Runtime) -> None:
    peers_differ("crun", why="leaves the caller's ignored signals")
    status = runtime.container("/bin/cat", "/proc/self/status").run().ok().stdout
    assert int(status_field(status, "SigIgn"), 16) == 0
    assert int(status_field(status, "SigBlk"), 16) == 0


@pytest.mark.spec("hostname")
def test_hostname(runtime: Runtime) -> None:
    container = runtime.container("/bin/hostname")
    container.config["hostname"] = "some.name"
    assert container.run().ok().stdout == "some.name\n"


@pytest.mark.spec("linux.sysctl")
def test_sysctl(runtime: Runtime) -> None:
    container = runtime.container("/bin/cat", "/proc/sys/net/ipv4/ip_default_ttl")
    container.config["linux"]["sysctl"] = {"net.ipv4.ip_default_ttl": "77"}
    assert container.run().ok().stdout == "77\n"


def test_signals_of_the_c_library_are_reset(runtime: Runtime) -> None:
    """Signals 32 and 33 can be ignored by a caller, though no C library says so."""
    peers_differ("crun", "runc", why="they leave them ignored")
    ignore = "import ctypes,os,sys; a=(ctypes.c_uint64*4)(1,0,0,0); l=ctypes.CDLL(None); "
    ignore += "[l.syscall(13,n,a,None,8) for n in (32,33)]; os.execv(sys.argv[1],sys.argv[1:])"
    container = runtime.container("/bin/cat", "/proc/self/status")
    container.write()
    done = runtime(
        "run",
        "--bundle",
        str(container.bundle),
        container.id,
        prefix=(sys.executable, "-c", ignore),
    )
    assert int(status_field(done.ok().stdout, "SigIgn"), 16) == 0


@pytest.mark.spec("process.scheduler", "process.ioPriority")
def test_scheduler_and_io_priority(runtime: Runtime) -> None:
    peers_differ("runc", "crun", why="Debian's versions do not know them")
    container = runtime.container("/bin/sh", "-c", "cat /proc/self/stat; ionice")
    container.config["process"]["scheduler"] = {"policy": "SCHED_BATCH", "nice": 5}
    container.config["process"]["ioPriority"] = {"class": "IOPRIO_CLASS_IDLE", "priority": 0}
    stat, io = container.run().ok().lines
    fields = stat.rpartition(")")[2].split()
    assert (fields[16], fields[38]) == ("5", "3")  # nice, policy: proc_pid_stat(5)
    assert io.startswith("idle")


@pytest.mark.spec("linux.memoryPolicy")
@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"mode": "MPOL_BIND", "nodes": "0"}, "bind:0"),
        ({"mode": "MPOL_INTERLEAVE", "nodes": "0"}, "interleave:0"),
        ({"mode": "MPOL_PREFERRED", "nodes": "0"}, "prefer:0"),
        ({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}, "bind=static:0"),
        ({"mode": "MPOL_LOCAL"}, "local"),
        ({"mode": "MPOL_DEFAULT"}, "default"),
    ],
)
def test_memory_policy(runtime: Runtime, policy: dict[str, object], expected: str) -> None:
    peers_differ("runc", "crun", why="Debian's versions do not know it")
    container = runtime.sh("head -n 1 /proc/self/numa_maps")
    container.config["linux"]["memoryPolicy"] = policy
    assert container.run().ok().stdout.split()[1] == expected


@pytest.mark.spec("linux.memoryPolicy")
def test_a_memory_node_that_the_host_has_not_got(runtime: Runtime) -> None:
    peers_differ("runc", "crun", why="Debian's versions do not know it")
    container = runtime.sh("echo ran")
    container.config["linux"]["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "1000"}
    assert "linux.memoryPolicy" in container.run().failed().stderr


@pytest.mark.spec("linux.personality")
def test_personality(runtime: Runtime) -> None:
    container = runtime.container("/bin/uname", "-m")
    container.config["linux"]["personality"] = {"domain": "LINUX32"}
    assert container.run().ok().stdout == "i686\n"


@pytest.mark.spec("linux.personality")
def test_personality_has_no_flags(runtime: Runtime) -> None:
    peers_differ("runc", "crun", why="crun ignores them")
    container = runtime.container("/bin/uname", "-m")
    container.config["linux"]["personality"] = {"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}
    assert "linux.personality.flags" in container.run().failed().stderr


@pytest.mark.spec("process.scheduler")
@pytest.mark.parametrize(
    ("scheduler", "policy"),
    [
        ({"policy": "SCHED_OTHER", "nice": 3}, 0),
        ({"policy": "SCHED_FIFO", "priority": 5, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}, 0x40000001),
        ({"policy": "SCHED_RR", "priority": 5}, 2),
        ({"policy": "SCHED_IDLE"}, 5),
    ],
)
def test_scheduling_policies(runtime: Runtime, scheduler: dict[str, object], policy: int) -> None:
    peers_differ("runc", "crun", why="Debian's versions do not know them")
    container = runtime.container("/bin/cat", "/proc/self/stat")
    container.config["process"]["scheduler"] = scheduler
    if (CGROUPS / "cpu" / "cpu.rt_runtime_us").exists():  # realtime needs a budget then
        budget = {"realtimeRuntime": 1000, "realtimePeriod": 1000000}
        container.config["linux"]["resources"]["cpu"] = budget
    found = container.run().ok().stdout.rpartition(")")[2].split()[38]
    assert int(found) == policy & 0xFF


@pytest.mark.spec("process.ioPriority")
@pytest.mark.parametrize(("level", "accepted"), [(0, True), (7, True), (8, False), (-1, False)])
def test_levels_of_io_priority(runtime: Runtime, level: int, accepted: bool) -> None:
    peers_differ("runc", "crun", why="Debian's versions do not know it")
    container = runtime.container("/bin/ionice")
    container.config["process"]["ioPriority"] = {"class": "IOPRIO_CLASS_BE", "priority": level}
    answer = container.run()
    if accepted:
        assert answer.ok().stdout == f"best-effort: prio {level}\n"
    else:
        assert "process.ioPriority.priority" in answer.failed().stderr


def test_the_program_is_looked_for_in_the_path_that_it_will_have(runtime: Runtime) -> None:
    """Of two entries with one name the later counts."""
    container = runtime.container("sh", "-c", "echo $PATH")
    container.config["process"]["env"] = ["PATH=/nowhere", "PATH=/bin"]
    assert container.run().ok().stdout == "/bin\n"


def test_exec_looks_in_the_path_that_it_is_given(runtime: Runtime) -> None:
    container = runtime.sleeper()
    container.config["process"]["env"] = ["PATH=/nowhere"]
    container.started()
    answer = container.exec("sh", "-c", "echo $PATH", options=("--env", "PATH=/bin"))
    assert answer.ok().stdout == "/bin\n"
