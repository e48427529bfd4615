"""The launcher goes on in the snapshot when that is good, and starts an interpreter when it is not."""

from __future__ import annotations

import functools
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LAUNCHER = Path(sys.executable).parent / "pyrunc"
SITE = Path(sys.executable).parents[1] / f"lib/python3.{sys.version_info[1]}/site-packages"

pytestmark = [
    pytest.mark.skipif(not LAUNCHER.exists(), reason="needs make build"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86_64 has snapshots"),
]


class Installed:
    """A copy of the installed package that a test may change."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self.site = prefix / SITE.relative_to(SITE.parents[2])
        self.site.mkdir(parents=True)
        shutil.copytree(SITE / "pyrunc", self.site / "pyrunc")
        for backend in SITE.glob("_cffi_backend*"):
            shutil.copy2(backend, self.site)
        (prefix / "bin").mkdir()
        self.launcher = shutil.copy2(LAUNCHER, prefix / "bin")
        self.image = self.site / "pyrunc" / "pyrunc.snapshot"
        self.image.unlink(missing_ok=True)

    def __call__(self, *args: str, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run([self.launcher, *args], capture_output=True, text=True, **options)  # type: ignore[call-overload,no-any-return]

    def make(self, **options: object) -> None:
        done = self("snapshot", **options)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{self.image}\n"

    def executable(self) -> str:
        """The program that carries out a verb: the launcher itself, when the snapshot is used."""
        fifo = self.prefix / "fifo"
        os.mkfifo(fifo)
        # Opening the log waits for a reader.
        process = subprocess.Popen([self.launcher, "--log", fifo, "--version"], stdout=subprocess.DEVNULL)
        try:
            seen = self._settled(process.pid)
            os.close(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK))
        finally:
            process.kill()
            process.wait()
            fifo.unlink()
        return seen

    def _settled(self, pid: int) -> str:
        """When it sleeps and keeps sleeping, it waits in open."""
        asleep = 0
        for _ in range(2000):
            asleep = asleep + 1 if Path(f"/proc/{pid}/stat").read_text().split()[2] == "S" else 0
            if asleep == 3:
                return os.readlink(f"/proc/{pid}/exe")
            time.sleep(0.005)
        raise AssertionError("the log was not opened")

    def is_used(self) -> bool:
        return self.executable() == str(self.launcher)


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    return Installed(tmp_path)


def test_is_used_when_it_was_made(installed: Installed) -> None:
    assert not installed.is_used()
    installed.make()
    assert installed.is_used()
    assert installed.image.stat().st_mode & 0o777 == 0o600


def test_pip_uninstall_knows_of_it(installed: Installed) -> None:
    record = installed.site / "pyrunc-0.dist-info" / "RECORD"
    record.parent.mkdir()
    record.write_text("pyrunc/__init__.py,,\n")
    installed.make()
    installed.make()
    assert record.read_text() == "pyrunc/__init__.py,,\npyrunc/pyrunc.snapshot,,\n"


def test_is_made_again_from_within_itself(installed: Installed) -> None:
    installed.make()
    first = installed.image.stat().st_ino, installed.image.stat().st_mtime_ns
    installed.make()
    assert (installed.image.stat().st_ino, installed.image.stat().st_mtime_ns) != first
    assert installed.is_used()


@pytest.mark.parametrize("name", ["pyrunc/{TAG}.bundle", "pyrunc/_native/_clone.abi3.so"])
def test_a_changed_installation_is_not_answered_from_the_old_one(installed: Installed, name: str) -> None:
    installed.make()
    (installed.site / name.format(TAG=sys.implementation.cache_tag)).touch()
    assert not installed.is_used()


def test_a_copy_of_the_installation_is_not_answered_from_the_old_one(
    installed: Installed, tmp_path: Path
) -> None:
    installed.make()
    shutil.copytree(installed.prefix, tmp_path / "copy", ignore=shutil.ignore_patterns("copy"))
    version = installed.site.relative_to(tmp_path) / "pyrunc/version.py"
    (tmp_path / "copy" / version).write_text('__version__ = "9.9.9"\n')
    (bundle,) = (tmp_path / "copy" / version.parent).glob("*.bundle")
    bundle.unlink()
    copied = subprocess.run([tmp_path / "copy/bin/pyrunc", "--version"], capture_output=True, text=True)
    assert "9.9.9" in copied.stdout


def test_the_log_of_the_call_that_made_it_is_forgotten(installed: Installed, tmp_path: Path) -> None:
    assert installed("--log", str(tmp_path / "first"), "snapshot").returncode == 0
    installed("--log", str(tmp_path / "second"), "--log-format", "json", "state", "missing")
    assert (tmp_path / "first").read_text() == ""
    assert (tmp_path / "second").read_text().startswith('{"level":"error"')


def test_one_that_others_may_write_is_not_trusted(installed: Installed) -> None:
    installed.make()
    installed.image.chmod(0o620)
    assert not installed.is_used()


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file away")
def test_one_of_another_user_is_not_trusted(installed: Installed) -> None:
    installed.make()
    os.chown(installed.image, 12345, 12345)
    assert not installed.is_used()


def test_a_link_to_one_is_not_followed(installed: Installed) -> None:
    installed.make()
    installed.image.rename(installed.prefix / "elsewhere")
    installed.image.symlink_to(installed.prefix / "elsewhere")
    assert not installed.is_used()


@pytest.mark.parametrize("size", [0, 100, 20_000, -4096])
def test_a_torn_one_is_not_used(installed: Installed, size: int) -> None:
    installed.make()
    whole = installed.image.stat().st_size
    os.truncate(installed.image, size if size >= 0 else whole + size)
    assert not installed.is_used()


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_a_second_try_where_its_place_was_taken(installed: Installed) -> None:
    installed.make()
    third_segment = ["-e", "inject=mmap:error=EEXIST:when=4"]  # the first call maps the header
    assert programs(installed, *third_segment) == [str(installed.launcher), "/proc/self/exe"]


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_no_third_try(installed: Installed) -> None:
    """Without chance in it, every stack is at the place that the image has its own at."""
    subprocess.run(["setarch", "-R", installed.launcher, "snapshot"], check=True)
    assert installed.is_used()
    launcher, again, interpreter = programs(installed, "setarch", "-R")
    assert (launcher, again) == (str(installed.launcher), "/proc/self/exe")
    assert "python" in interpreter


def programs(installed: Installed, *options: str) -> list[str]:
    """The programs that a call executes one after the other."""
    log = installed.prefix / "strace"
    command = [
        "strace",
        "-qq",
        "-o",
        log,
        "-e",
        "trace=execve,mmap",
        *options,
        installed.launcher,
        "--version",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.startswith("pyrunc"), done
    called = [
        line for line in log.read_text().splitlines() if line.startswith("execve(") and line.endswith(" = 0")
    ]
    return [path for line in called if (path := line.split('"')[1]) and not path.endswith("setarch")]


def test_the_answers_are_the_same(installed: Installed) -> None:
    calls = (
        ["--version"],
        ["--help"],
        ["state", "no-such-container"],
        ["--root", "/nonexistent", "list"],
        ["state", "é\udcff"],
        ["frobnicate"],
        ["kill", "x", "NOSIGNAL"],
    )
    slow = [installed(*call) for call in calls]
    installed.make()
    fast = [installed(*call) for call in calls]
    for before, after in zip(slow, fast, strict=True):
        assert (before.returncode, before.stdout, before.stderr) == (
            after.returncode,
            after.stdout,
            after.stderr,
        )


def test_the_environment_is_the_callers(installed: Installed, tmp_path: Path) -> None:
    installed.make()
    environment = {"XDG_RUNTIME_DIR": str(tmp_path / "mine"), "USER": "somebody"}
    # As root of a user namespace the state lies in the runtime directory of the user.
    done = subprocess.run(
        ["unshare", "-Ur", str(installed.launcher), "list", "-q"],
        env=environment | {"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    if "unshare" in done.stderr:
        pytest.skip("no user namespaces here")
    assert (done.returncode, done.stderr) == (0, "")


def test_many_and_long_arguments(installed: Installed) -> None:
    many = ["x" * 1000] * 1000
    slow = installed("state", *many)
    installed.make()
    fast = installed("state", *many)
    assert (slow.returncode, slow.stderr) == (fast.returncode, fast.stderr) != (0, "")


def test_deep_json_is_no_crash(installed: Installed, tmp_path: Path) -> None:
    """The stack of the image can't grow by itself: there has to be room enough."""
    installed.make()
    (tmp_path / "config.json").write_text("[" * 100_000)
    done = installed("--root", str(tmp_path / "state"), "create", "-b", str(tmp_path), "x")
    assert done.returncode == 1 and "config.json" in done.stderr


def test_an_ignored_interrupt_stays_ignored(installed: Installed) -> None:
    """And no other, even if the snapshot was made where it is ignored."""
    ignore = functools.partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
    installed.make(preexec_fn=ignore)
    for disposition in (signal.SIG_IGN, signal.SIG_DFL):
        ignored = disposition == signal.SIG_IGN
        fifo = installed.prefix / f"log-{ignored}"
        os.mkfifo(fifo)
        process = subprocess.Popen(
            [installed.launcher, "--log", fifo, "--version"],
            stdout=subprocess.DEVNULL,
            preexec_fn=functools.partial(signal.signal, signal.SIGINT, disposition),
        )
        try:
            installed._settled(process.pid)
            status = Path(f"/proc/{process.pid}/status").read_text()
        finally:
            process.kill()
            process.wait()
        masks = {
            line.split(":")[0]: int(line.split()[1], 16)
            for line in status.splitlines()
            if line[:6] in ("SigIgn", "SigCgt")
        }
        bit = 1 << (signal.SIGINT - 1)
        assert bool(masks["SigIgn"] & bit) == ignored
        assert bool(masks["SigCgt"] & bit) != ignored
