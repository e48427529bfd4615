"""Private mount, network and pid namespaces in which a container engine runs for the tests.

Nothing in there touches the host's engines: /run, /dev/shm and /var/lib/cni are its own, all
containers sit under one cgroup of a unique name, and the end of the sandbox's pid 1 ends the lot.
"""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
RUNTIME = Path(os.environ.get("OCI_RUNTIME") or REPO / ".venv" / "bin" / "pyrunc")
BUSYBOX = Path("/bin/busybox")
APPLETS = "sh echo cat id sleep true false ls ps env hostname mount stty tty kill touch pwd test grep wc"

NAMESPACES = ("unshare", "-m", "-n", "-p", "-f", "--kill-child", "--mount-proc")
SETUP = """
set -e
mount --make-rshared /
ip link set lo up
mount -t tmpfs -o mode=755 run /run
mount -t tmpfs -o mode=1777 shm /dev/shm
test ! -d /var/lib/cni || mount -t tmpfs cni /var/lib/cni
mount -o remount,bind,ro /sys/fs/cgroup
echo ready
exec sleep infinity
"""


class Sandbox:
    """One set of private namespaces, a work folder and a cgroup parent of a unique name."""

    def __init__(self) -> None:
        self.name = f"pyrunc-engines-{secrets.token_hex(4)}"
        self.work = Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir="/var/tmp"))
        self.work.chmod(0o755)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.work),
            "TMPDIR": str(self.work),
            "TERM": "xterm",
        }
        self.keeper = subprocess.Popen(
            [*NAMESPACES, "sh", "-c", SETUP],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        assert self.keeper.stdout
        line = self.keeper.stdout.readline()
        if line != "ready\n":
            self.close()
            raise RuntimeError(f"no private namespaces: {line}")
        children = Path(f"/proc/{self.keeper.pid}/task/{self.keeper.pid}/children")
        self.init = children.read_text().split()[0]

    def enter(self, *words: str) -> list[str]:
        return ["nsenter", "-t", self.init, "-m", "-n", "-p", *words]

    def run(
        self, *words: str, stdin: str | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """The command's result; its output goes to files, as engines leave daemons behind."""
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            done = subprocess.run(
                self.enter(*words),
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                stdout=out,
                stderr=err,
                text=True,
                timeout=timeout,
                env=self.environment,
                cwd=self.work,
            )
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, out.read(), err.read())

    def on_terminal(self, command: str) -> subprocess.CompletedProcess[str]:
        """The command with a pseudo-terminal as its stdin, stdout and stderr."""
        done = self.run("script", "-qec", command, "/dev/null")
        done.stdout = done.stdout.replace("^@", "")  # the echo of the end of its own stdin
        return done

    def daemon(self, *words: str) -> None:
        """Starts a daemon that lives as long as the sandbox does."""
        with (self.work / f"{words[0]}.log").open("w") as log:
            subprocess.Popen(
                self.enter(*words),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                cwd=self.work,
                start_new_session=True,
            )

    def log(self, daemon: str) -> str:
        return (self.work / f"{daemon}.log").read_text()

    def close(self) -> None:
        self.keeper.send_signal(signal.SIGKILL)  # --kill-child takes pid 1 and all it holds along
        self.keeper.wait()
        for _ in range(50):
            for top in Path("/sys/fs/cgroup").glob(f"*/{self.name}"):
                for folder in sorted(top.rglob("*/"), reverse=True):
                    with contextlib.suppress(OSError):
                        folder.rmdir()
                with contextlib.suppress(OSError):
                    top.rmdir()
            if not list(Path("/sys/fs/cgroup").glob(f"*/{self.name}")):
                break
            time.sleep(0.1)
        shutil.rmtree(self.work, ignore_errors=True)


def busybox_image(path: Path) -> Path:
    """A root filesystem of a static busybox and its links, as a tar file."""
    with tarfile.open(path, "w") as image:
        for folder in ("bin", "etc", "tmp", "root", "dev", "proc", "sys", "var", "run"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            image.addfile(entry)
        image.add(BUSYBOX, "bin/busybox", recursive=False)
        for applet in APPLETS.split():
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            image.addfile(entry)
        for name, text in {
            "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
            "etc/group": "root:x:0:\n",
        }.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text), 0o644
            image.addfile(entry, io.BytesIO(text.encode()))
    return path
