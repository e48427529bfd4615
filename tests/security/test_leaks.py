"""Nothing of the caller's comes into the container, and nothing of the runtime's."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.harness import Container, Runtime, peers_differ
from tests.security.attack import Treasure, civil

PLACES = [
    "run",
    "create",
    "exec",
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
]
HOOKS = PLACES[3:]
_SEE = """#!/bin/sh
{ grep -E '^(Sig(Blk|Ign)|Cap|NoNewPrivs|Umask)' /proc/self/status
  for fd in /proc/self/fd/*; do echo "fd $fd $(readlink $fd)"; done
  tr '\\0' '\\n' < /proc/self/environ | sed 's/^/env /'
  echo cwd $(readlink /proc/self/cwd)
  ulimit -a | sed 's/^/limit /'
} > WHERE 2>/dev/null
cat > /dev/null
"""


class Seen:
    """What a process of the container, or a hook, found when it started."""

    def __init__(self, text: str) -> None:
        self.lines = text.splitlines()
        assert self.lines, "the process did not run"

    def field(self, name: str) -> str:
        return next(line.split()[1] for line in self.lines if line.startswith(f"{name}:"))

    @property
    def fds(self) -> dict[int, str]:
        """Without what the shell itself opened: the result, its directory, its script."""
        found = {}
        for line in self.lines:
            words = line.split()
            own = len(words) < 3 or "see" in words[2] or words[2].startswith("/proc/")
            if words[0] == "fd" and not own:
                found[int(words[1].rpartition("/")[2])] = words[2]
        return found

    @property
    def environment(self) -> list[str]:
        return [line[4:] for line in self.lines if line.startswith("env ")]

    @property
    def directory(self) -> str:
        return next(line[4:] for line in self.lines if line.startswith("cwd "))


def look_from(runtime: Runtime, place: str, **caller: object) -> Seen:
    """Run a container, called as ``caller`` says; what was to be seen from a place of its life."""
    container = runtime.container("/bin/sh", "/see.sh")
    inside = place not in ("prestart", "createRuntime", "poststart", "poststop", "createContainer")
    result = container.rootfs / "seen" if inside else runtime.tmp / "seen"
    script = _SEE.replace("WHERE", "/seen" if inside else str(result))
    file = container.rootfs / "see.sh" if inside else runtime.tmp / "see.sh"
    file.write_text(script)
    file.chmod(0o755)
    if place in HOOKS:
        container.config["process"]["args"] = ["/bin/true"]
        hook = {"path": "/see.sh" if inside else str(file), "env": ["PATH=/bin:/usr/bin"]}
        container.config["hooks"] = {place: [hook]}
    if place == "exec":
        container.config["process"]["args"] = ["/bin/sleep", "100"]
    container.write()
    options = ["--bundle", str(container.bundle), container.id]
    if place == "create":
        runtime("create", *options, **caller).ok()  # type: ignore[arg-type]
        container.start().ok()
        container.wait()
    elif place == "exec":
        container.started()
        runtime("exec", container.id, "/bin/sh", "/see.sh", **caller).ok()  # type: ignore[arg-type]
    else:
        runtime("run", *options, **caller).ok()  # type: ignore[arg-type]
    return Seen(result.read_text())


@contextlib.contextmanager
def inheritable(*paths: str) -> Iterator[list[int]]:
    """Descriptors that go over an exec."""
    fds = [os.open(path, os.O_RDONLY) for path in paths]
    for fd in fds:
        os.set_inheritable(fd, True)
    try:
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


@pytest.mark.parametrize("place", PLACES)
def test_descriptors_of_the_caller(runtime: Runtime, place: str) -> None:
    """CVE-2024-21626, and what an engine or a shell has left open."""
    if place in HOOKS:
        peers_differ("crun", why="hands descriptors to hooks")
    with inheritable("/", "/etc", "/etc/passwd", "/dev/null", "/proc", "/sys/fs/cgroup") as fds:
        seen = look_from(runtime, place, pass_fds=fds)
    assert set(seen.fds) <= {0, 1, 2}, seen.fds


def test_a_created_container_holds_nothing_of_the_callers(runtime: Runtime) -> None:
    """What init holds until `start` stays open for its caller: a pipe would never end."""
    peers_differ("runc", "crun", why="keep what is inherited until the start")
    container = runtime.sleeper()
    container.write()
    with inheritable("/etc", "/etc/passwd") as fds:
        runtime("create", "--bundle", str(container.bundle), container.id, pass_fds=fds).ok()
    directory = Path(f"/proc/{container.pid}/fd")
    held = {os.readlink(fd) for fd in directory.iterdir()}
    assert held and not held & {"/etc", "/etc/passwd"}, held


@pytest.mark.parametrize("place", PLACES)
def test_a_descriptor_of_high_number(runtime: Runtime, place: str) -> None:
    if place in HOOKS:
        peers_differ("crun", why="hands descriptors to hooks")
    with inheritable("/etc") as fds:
        high = os.dup2(fds[0], 900)
        try:
            seen = look_from(runtime, place, pass_fds=[high])
        finally:
            os.close(high)
    assert set(seen.fds) <= {0, 1, 2}, seen.fds


@pytest.mark.parametrize("place", PLACES)
def test_the_environment_of_the_caller(runtime: Runtime, place: str) -> None:
    environment = dict(os.environ, SECRET="of the caller", LD_LIBRARY_PATH="/x", PYTHONPATH="/x")
    environment["LISTEN_PIDS"] = environment["NOTIFY"] = "secret"
    seen = look_from(runtime, place, env=environment)
    names = {entry.partition("=")[0] for entry in seen.environment}
    assert names <= {"PATH", "TERM", "HOME", "PWD", "SHLVL", "OLDPWD", "_"}, seen.environment


@pytest.mark.parametrize("place", PLACES)
def test_signals_that_the_caller_ignores(runtime: Runtime, place: str) -> None:
    """As nohup does, and any program of Python: an ignored signal stays ignored over exec."""
    if place in HOOKS:
        peers_differ("crun", "runc", why="do not reset them for hooks")
    peers_differ("crun", why="does not reset them")
    seen = look_from(runtime, place, preexec_fn=_ignore_all)
    of_the_c_library = 3 << 31 if place in HOOKS else 0  # posix_spawn(3) has 32 and 33 ignored
    assert int(seen.field("SigIgn"), 16) & ~of_the_c_library == 0


@pytest.mark.parametrize("place", PLACES)
def test_signals_that_the_caller_blocks(runtime: Runtime, place: str) -> None:
    if place in HOOKS:
        peers_differ("crun", "runc", why="do not reset the mask for hooks")
    peers_differ("crun", why="does not reset the mask")
    seen = look_from(runtime, place, preexec_fn=_block_all)
    assert int(seen.field("SigBlk"), 16) == 0


def _ignore_all() -> None:
    for number in range(1, 65):
        # 32 and 33 too, of which the C library, and so Python, will not hear.
        action = (ctypes.c_ulong * 4)(1, 0, 0, 0)
        if number not in (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD):
            _libc.syscall(13, number, action, None, 8)


def _block_all() -> None:
    mask = ctypes.c_uint64(2**64 - 1)
    _libc.syscall(14, signal.SIG_SETMASK, ctypes.byref(mask), None, 8)


_libc = ctypes.CDLL(None)


@pytest.mark.parametrize("number", [1, 2, *range(4, 9), *range(10, 17), 24, 25, 26, 29, 30, 31, 34, 50, 64])
@pytest.mark.parametrize("how", ["ignored", "blocked"])
def test_a_signal_works_whatever_the_caller_does_with_it(runtime: Runtime, number: int, how: str) -> None:
    peers_differ("crun", "runc", why="leave some ignored")
    script = f"sh -c 'kill -{number} $$; echo survived'; true"

    def prepare() -> None:
        if how == "ignored":
            signal.signal(number, signal.SIG_IGN)
        else:
            signal.pthread_sigmask(signal.SIG_BLOCK, [number])

    answer = runtime.sh(script).run(preexec_fn=prepare)
    assert "survived" not in answer.stdout


@pytest.mark.parametrize("place", ["run", "create", "exec"])
@pytest.mark.parametrize("mask", [0o000, 0o777, 0o022])
def test_the_umask_of_the_caller(runtime: Runtime, place: str, mask: int) -> None:
    """Files of the runtime's own and devices have the modes that they should have."""
    container = runtime.sh("stat -c %a /dev/null /dev/shm /made; exec sleep 100")
    container.config["mounts"].append({"destination": "/made", "type": "tmpfs", "source": "x", "options": []})
    result = runtime.tmp / "pid"
    container.write()
    with container.output.open("wb") as output:
        arguments = ["create", "--bundle", str(container.bundle), "--pid-file", str(result), container.id]
        runtime(*arguments, stdout=output, umask=mask).ok()
    state = runtime.root / container.id
    for path in state.iterdir():
        assert not path.stat().st_mode & 0o077, path
    assert not runtime.root.stat().st_mode & 0o022
    container.start().ok()
    from tests.integration.harness import wait_for

    wait_for(lambda: len(container.printed().split()) == 3, "the container printed nothing")
    assert container.printed().split() == ["666", "1777", "1777"]


SPELLINGS = ["/proc/self/fd/{}", "/proc/1/fd/{}", "/proc/self/fd/{}/../..", "/dev/fd/{}"]


@pytest.mark.parametrize("number", (0, 3, 4, 5, 6, 7, 9, 12))
@pytest.mark.parametrize(
    "spelling", ["/proc/self/fd/{}", "/proc/1/fd/{}", "/proc/self/fd/{}/../..", "/dev/fd/{}"]
)
def test_a_working_directory_that_is_a_descriptor(runtime: Runtime, spelling: str, number: int) -> None:
    """CVE-2024-21626: a descriptor of the runtime's that leads to the host."""
    container = runtime.sh("ls -d usr/lib/python* root/wt 2>/dev/null; pwd")
    container.config["process"]["cwd"] = spelling.format(number)
    with inheritable("/", "/etc") as fds:
        answer = civil(container.run(pass_fds=fds))
    assert "python" not in answer.stdout
    assert answer.status != 0, answer


@pytest.mark.parametrize("number", (3, 4, 5, 6, 7, 9))
def test_the_same_for_exec(runtime: Runtime, sleeper: Container, number: int) -> None:
    with inheritable("/", "/etc") as fds:
        command = ["exec", "--cwd", f"/proc/self/fd/{number}", sleeper.id, "ls"]
        civil(sleeper.runtime(*command, pass_fds=fds)).failed()


@pytest.fixture(scope="module")
def sleeper(tmp_path_factory: pytest.TempPathFactory, rootfs: Path) -> Iterator[Container]:
    runtime = Runtime(tmp_path_factory.mktemp("sleeper"), rootfs)
    yield runtime.sleeper().started()
    runtime.clean()


@pytest.mark.parametrize("path", ["/proc/self/exe", "/proc/1/exe", "/proc/self/fd/3", "/proc/self/fd/6"])
def test_a_program_that_is_the_runtime(runtime: Runtime, path: str) -> None:
    """CVE-2019-5736: the container has the runtime execute itself and writes to it."""
    before = _programs()
    container = runtime.container(path, "-c", "echo")
    assert container.run().status >= 0
    assert _programs() == before


@pytest.mark.parametrize("path", ["/proc/self/exe", "/proc/self/fd/3"])
def test_a_script_whose_interpreter_is_the_runtime(runtime: Runtime, path: str) -> None:
    before = _programs()
    container = runtime.container("/script")
    (container.rootfs / "script").write_text(f"#!{path}\n")
    (container.rootfs / "script").chmod(0o755)
    assert container.run().status >= 0
    assert _programs() == before


_OVERWRITE = """
while :; do
  for p in /proc/[0-9]*; do
    [ "$p" = /proc/$$ ] && continue
    for f in $p/exe $p/fd/*; do
      l=$(readlink $f)
      case $l in /bin/*|/proc/*|/dev/*|pipe*|socket*|anon*|'') ;; *) echo "$f $l";; esac
      # What it can't read may have become the user's program, with a /dev/null, before it writes.
      { echo pwned > $f; } 2>/dev/null && case $l in /*|'') ;; *) echo wrote $f;; esac
    done
  done
done
"""


def test_exec_beside_a_hostile_process(runtime: Runtime) -> None:
    """It looks for the runtime's descriptors and programs in /proc, and writes to what it finds."""
    peers_differ("crun", "runc", why="can be seen, though not written to")
    before = _programs()
    container = runtime.sh(_OVERWRITE).started()
    for _ in range(25):
        civil(container.exec("/bin/true"))
    container.kill()
    container.wait()
    found = [line for line in container.printed().splitlines() if "memfd" in line or line.startswith("wrote")]
    assert found == []
    assert _programs() == before


def test_a_created_container_can_not_be_inspected(runtime: Runtime) -> None:
    """CVE-2016-9962: init is not dumpable, so that nobody inside reads its descriptors or memory."""
    peers_differ("crun", "runc", why="let the first process run another way")
    container = runtime.container("/bin/true")
    assert container.create().status == 0
    script = "cd /proc/1; readlink fd/* cwd root exe; cat environ maps auxv; echo"
    answer = civil(container.exec("/bin/sh", "-c", script))
    assert answer.stdout == "\n"


def test_init_is_a_sealed_copy(runtime: Runtime) -> None:
    peers_differ("crun", "runc", why="have other ways")
    container = runtime.container("/bin/true")
    assert container.create().status == 0
    exe = Path(f"/proc/{container.pid}/exe")
    assert os.readlink(exe) == "/memfd:pyrunc-init (deleted)"
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC):
        with pytest.raises(OSError):
            os.close(os.open(exe, flags))
    fd = os.open(exe, os.O_RDONLY)
    try:
        import fcntl

        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    finally:
        os.close(fd)
    assert seals & 0xF == 0xF  # seal, shrink, grow, write
    for line in Path(f"/proc/{container.pid}/maps").read_text().splitlines():
        assert ".so" not in line and "python" not in line


def _programs() -> dict[str, object]:
    from tests.integration.harness import PROGRAM

    paths = {os.path.realpath(shutil.which(PROGRAM) or PROGRAM), os.path.realpath(sys.executable)}
    for path in list(paths):
        paths |= {
            str(p) for p in Path(path).parent.parent.glob("lib/python3*/site-packages/pyrunc/_native/*")
        }
    return {path: (os.stat(path).st_size, os.stat(path).st_mtime_ns) for path in paths}


# Makes a session keyring that all may join by its name, with a key in it that only its possessors see.
_HOLD_A_KEY = """
import ctypes, os, platform, sys
os.setuid(int(sys.argv[2]))
add_key, keyctl = {"x86_64": (248, 250), "aarch64": (217, 219)}[platform.machine()]
call = ctypes.CDLL(None, use_errno=True).syscall
JOIN, SETPERM, SESSION, ALL_BUT_SETATTR = 1, 5, -3, 0x1F1F1F1F
ring = call(keyctl, JOIN, sys.argv[1].encode())
key = call(add_key, b"user", b"a-key-of-another", b"secret", 6, SESSION)
call(keyctl, SETPERM, key, 0x3F000000)
call(keyctl, SETPERM, ring, ALL_BUT_SETATTR)
print(ring > 0 and key > 0, flush=True)
if len(sys.argv) > 3:
    os.execvp(sys.argv[3], sys.argv[3:])
sys.stdin.read()
"""


def _keys(container: Container, verb: str, **caller: object) -> str:
    if verb == "run":
        return container.run(**caller).ok().stdout
    container.started()
    return container.runtime("exec", container.id, "/bin/cat", "/proc/keys", **caller).ok().stdout  # type: ignore[arg-type]


def _shower(runtime: Runtime, verb: str) -> Container:
    return runtime.sh("cat /proc/keys" if verb == "run" else "exec sleep 100")


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_a_session_keyring_of_its_own(runtime: Runtime, verb: str) -> None:
    """keyrings(7): keys of the caller's session are not possessed."""
    prefix = (sys.executable, "-c", _HOLD_A_KEY, f"caller-{os.getpid()}", "0")
    seen = _keys(_shower(runtime, verb), verb, prefix=prefix)
    assert "a-key-of-another" not in seen


def test_the_keyring_of_the_caller_if_that_is_wanted(runtime: Runtime) -> None:
    prefix = (sys.executable, "-c", _HOLD_A_KEY, f"caller-{os.getpid()}", "0")
    container = _shower(runtime, "run")
    assert "a-key-of-another" in container.run("--no-new-keyring", prefix=prefix).ok().stdout


@pytest.mark.parametrize("verb", ["run", "exec"])
@pytest.mark.parametrize("user", [0, 1000])
def test_a_keyring_that_somebody_has_made_before(runtime: Runtime, verb: str, user: int) -> None:
    """By its name a keyring is joined that anybody made: who did would share the container's keys."""
    peers_differ("runc", "crun", why="take a keyring by its name")
    container = _shower(runtime, verb)
    command = [sys.executable, "-c", _HOLD_A_KEY, f"_ses.{container.id}", str(user)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdin is not None
        assert other.stdout.readline() == "True\n"
        seen = _keys(container, verb)
        other.stdin.close()
    assert "a-key-of-another" not in seen


@pytest.mark.parametrize("verb", ["run", "exec"])
@pytest.mark.parametrize("directory", ["gone", "outside"])
def test_the_directory_of_the_caller(runtime: Runtime, verb: str, directory: str) -> None:
    container = runtime.sh("pwd; cat file 2>/dev/null; ls -d wt 2>/dev/null; exec true")
    treasure = Treasure(container)
    where = treasure.directory
    prefix: tuple[str, ...] = ("sh", "-c", f'cd {where} && exec "$@"', "sh")
    if directory == "gone":
        script = f'mkdir {runtime.tmp}/gone && cd {runtime.tmp}/gone && rmdir {runtime.tmp}/gone && exec "$@"'
        prefix = ("sh", "-c", script, "sh")
    if verb == "exec":
        container = runtime.sleeper().started()
        answer = runtime("exec", container.id, "/bin/sh", "-c", "pwd; cat file", prefix=prefix)
    else:
        answer = container.run(prefix=prefix)
    assert civil(answer).stdout == "/\n"


@pytest.mark.parametrize(
    "limit", ["-n 3", "-n 4", "-n 6", "-n 8", "-n 10", "-n 14", "-n 20", "-n 30", "-n 64"]
)
def test_few_descriptors(runtime: Runtime, limit: str) -> None:
    """It works, or ends in a clean error with nothing left."""
    _with_limit(runtime, limit)


LIMITS = [
    "-c 0",
    "-s 64",
    "-s 256",
    "-f 0",
    "-f 1",
    "-u 1",
    "-l 0",
    "-q 0",
    "-v 20000",
    "-v 200000",
    "-d 1000",
    "-t 1",
]


@pytest.mark.parametrize("limit", LIMITS)
def test_odd_limits_of_the_caller(runtime: Runtime, limit: str) -> None:
    _with_limit(runtime, limit)


def _with_limit(runtime: Runtime, limit: str) -> None:
    from tests.security.attack import nothing_left

    container = runtime.container("/bin/true")
    answer = container.run(prefix=("bash", "-c", f'ulimit {limit}; exec "$@"', "bash"))
    if answer.status >= 0 and answer.status < 125:
        assert "Traceback" not in answer.stderr, answer
    runtime("delete", "--force", container.id)
    nothing_left(container)


def test_process_json_is_read_once(runtime: Runtime) -> None:
    """A fifo gives its text to one reader."""
    container = runtime.sleeper().started()
    fifo = runtime.tmp / "process.json"
    os.mkfifo(fifo)
    process = json.dumps(dict(container.config["process"], args=["/bin/echo", "ran"]))
    if os.fork() == 0:
        fifo.write_text(process)
        os._exit(0)
    answer = runtime("exec", "--process", str(fifo), container.id)
    os.wait()
    assert answer.ok().stdout == "ran\n"


IGNORING = ("env", "--ignore-signal=CHLD")


@pytest.mark.parametrize("verb", ["run", "exec"])
@pytest.mark.parametrize("terminal", [False, True])
def test_a_caller_that_ignores_sigchld_learns_the_exit_status(
    runtime: Runtime, verb: str, terminal: bool
) -> None:
    """It is inherited, and then the kernel keeps no status of a child."""
    peers_differ("crun", why="waits for ever")
    container = runtime.sh("exit 42")
    container.config["process"]["terminal"] = terminal
    if verb == "run":
        answer = container.run(prefix=IGNORING, timeout=10)
    else:
        container.config["process"].update(args=["/bin/sleep", "100"], terminal=False)
        container.started()
        options = ("--tty",) if terminal else ()
        command = ("exec", *options, container.id, "/bin/sh", "-c", "exit 42")
        answer = runtime(*command, prefix=IGNORING, timeout=10)
    assert answer.status == 42, answer


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "poststart", "poststop"])
def test_hooks_of_a_caller_that_ignores_sigchld(runtime: Runtime, kind: str) -> None:
    container = runtime.container("/bin/true")
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"echo ran > {runtime.tmp}/ran"]}
    container.config["hooks"] = {kind: [hook]}
    container.run(prefix=IGNORING, timeout=10).ok()
    assert (runtime.tmp / "ran").read_text() == "ran\n"
