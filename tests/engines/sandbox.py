"""Private mount, network and pid namespaces in which a container engine runs for the tests.

Nothing in there touches the host's engines: /run, /dev/shm, /var/lib/cni and the configuration in
/etc/containers and /etc/cni are its own, all containers sit under one cgroup of a unique name, and
the end of the sandbox's pid 1 ends the lot.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

# Debian's engines, whatever else lies in /usr/local.
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

NAMESPACES = ("unshare", "-m", "-n", "-p", "-f", "--kill-child", "--mount-proc")
SETUP = """
set -e
mount --make-rshared /
ip link set lo up
mount -t tmpfs -o mode=755 run /run
mount -t tmpfs -o mode=1777 shm /dev/shm
for folder in /var/lib/cni /etc/cni /etc/containers/containers.conf.d /root/.docker; do
    test ! -d $folder || mount -t tmpfs own $folder
done
mount -o remount,bind,ro /sys/fs/cgroup
echo ready
exec sleep infinity
"""
# crun takes a hybrid host for one with cgroup v2 only, where it can limit nothing.
HIDE_UNIFIED = "test ! -d /sys/fs/cgroup/unified || mount -t tmpfs none /sys/fs/cgroup/unified\n"

Done = subprocess.CompletedProcess[str]


class Sandbox:
    """One set of private namespaces, a work folder and a cgroup parent of a unique name.

    runtime: the program that the engine is to use. It is found in PATH there, by its own name.
    """

    def __init__(self, runtime: Path) -> None:
        self.runtime = runtime
        self.name = f"pyrunc-engines-{secrets.token_hex(4)}"
        self.work = Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir="/var/tmp"))
        self.work.chmod(0o755)
        (self.work / "bin").mkdir()
        (self.work / "bin" / runtime.name).symlink_to(runtime)
        criu = Path(sys.prefix) / "criu" / "criu"  # scripts/criu.sh
        if criu.exists():
            (self.work / "bin" / "criu").symlink_to(criu)
        self.environment = {
            "PATH": f"{self.work}/bin:{PATH}",
            "HOME": str(self.work),
            "TMPDIR": str(self.work),
            "TERM": "xterm",
        }
        setup = (HIDE_UNIFIED if runtime.name == "crun" else "") + SETUP
        self.keeper = subprocess.Popen(
            [*NAMESPACES, "sh", "-c", setup],
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

    def write(self, file: str, text: str) -> None:
        """Writes a file of the sandbox's own mounts."""
        self.run("sh", "-c", f"mkdir -p $(dirname {file}) && cat >{file}", stdin=text)

    def run(self, *words: str, stdin: str | None = None, timeout: float = 90) -> Done:
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

    def on_terminal(
        self,
        *words: str,
        stdin: str = "",
        timeout: float = 60,
        resize: tuple[str, tuple[int, int]] | None = None,
    ) -> Done:
        """The same with a terminal of its own as its stdin, stdout and stderr.

        resize: as soon as such a text is seen, the terminal gets so many rows and columns."""
        master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (33, 111))
        process = subprocess.Popen(
            self.enter(*words),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=self.environment,
            cwd=self.work,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        timer = time.monotonic() + timeout
        output = b""
        if stdin:
            os.write(master, stdin.encode())
        with contextlib.suppress(OSError):  # EIO: the last descriptor of the other side is closed
            while time.monotonic() < timer and (read := os.read(master, 65536)):
                output += read
                if resize and resize[0].encode() in output:
                    time.sleep(0.5)  # what the engine itself sets at the beginning is set
                    termios.tcsetwinsize(master, resize[1])
                    resize = None
        os.close(master)
        process.wait(10)
        text = output.decode(errors="replace").replace("\r", "")
        return subprocess.CompletedProcess(process.args, process.returncode, text, "")

    def daemon(self, *words: str, log: str) -> None:
        """Starts a daemon that lives as long as the sandbox does."""
        with (self.work / f"{log}.log").open("w") as file:
            subprocess.Popen(
                self.enter(*words),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=self.environment,
                cwd=self.work,
                start_new_session=True,
            )

    def wait_for(self, log: str, *command: str) -> None:
        """Waits until a daemon answers.

        Raises RuntimeError with the end of its log if it doesn't."""
        for _ in range(150):
            if self.run(*command).returncode == 0:
                return
            time.sleep(0.2)
        end = (self.work / f"{log}.log").read_text()[-800:]
        raise RuntimeError(f"{log} does not start: {end}")

    def cgroups(self) -> list[str]:
        """The cgroups of this sandbox that have processes in them."""
        tops = Path("/sys/fs/cgroup").glob(f"*/{self.name}")
        files = [file for top in tops for file in top.rglob("cgroup.procs")]
        return [str(file.parent) for file in files if file.read_text()]

    def close(self) -> None:
        self.keeper.send_signal(signal.SIGKILL)  # --kill-child takes pid 1 and all it holds along
        self.keeper.wait()
        for _ in range(50):
            for top in Path("/sys/fs/cgroup").glob(f"*/{self.name}*"):
                for folder in sorted(top.rglob("*/"), reverse=True):
                    with contextlib.suppress(OSError):
                        folder.rmdir()
                with contextlib.suppress(OSError):
                    top.rmdir()
            if not list(Path("/sys/fs/cgroup").glob(f"*/{self.name}*")):
                break
            time.sleep(0.1)
        shutil.rmtree(self.work, ignore_errors=True)
