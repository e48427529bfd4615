"""CRIU, by its command line: what it is called with, and what its log says when it fails. criu(8)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pyrunc.errors import Error

_TAIL = 5  # lines of the log that an error shows
_ERROR = re.compile(r"^(?:\(\d+\.\d+\) *)?(?:\d+: )?(Error .*)$")
# What criu calls an error and then does without.
_HARMLESS = ("Can't setup RLIMIT_NOFILE", "Unable to create tun", "kdat cache")
# In the images' directory: what restore has to give back.
NAMES = "descriptors.json"  # of standard input, output and error, as /proc/PID/fd names them
CONFIGURATION = "/etc/criu/runc.conf"
ANNOTATION = "org.criu.config"
MOUNTS = "pyrunc.json"  # mounts and files from outside of the container


def program() -> str:
    """The path of criu. Raises Error."""
    found = shutil.which("criu")
    if found is None:
        raise Error(
            "criu is not installed",
            code="criu-missing",
            step="criu",
            subject="criu",
            hint="install CRIU (Debian: apt-get install criu), and have it in PATH",
        )
    return found


def common_arguments(options: dict[str, Any], annotations: dict[str, str]) -> list[str]:
    """What dump and restore take alike. ``options``: those of the command line."""
    found = ["--images-dir", options["image_path"], *_configuration(annotations)]
    for key, flag in (
        ("tcp_established", "--tcp-established"),
        ("ext_unix_sk", "--ext-unix-sk"),
        ("shell_job", "--shell-job"),
        ("file_locks", "--file-locks"),
        ("link_remap", "--link-remap"),
        ("auto_dedup", "--auto-dedup"),
        ("lazy_pages", "--lazy-pages"),
    ):
        if options.get(key):
            found.append(flag)
    if "network" in options["empty_ns"]:
        found += ["--empty-ns", "net"]
    if options["network_lock"]:
        found += ["--network-lock", options["network_lock"]]
    return found


def _configuration(annotations: dict[str, str]) -> list[str]:
    """A file of CRIU's own options: the one that operators have for runc, or the container's; "" is none."""
    path = annotations.get(ANNOTATION)
    if path is None:
        path = CONFIGURATION if os.path.exists(CONFIGURATION) else ""
    return ["--config", path] if path else []


def run(
    action: str,
    arguments: list[str],
    work: str,
    *,
    wrapper: Iterable[str] = (),
    fds: Iterable[int] = (),
    setup: Callable[[], None] | None = None,
    meanwhile: Callable[[subprocess.Popen[bytes]], None] | None = None,
) -> None:
    """Run criu to its end; ``work`` is where its log stays. Raises Error with what the log says.

    wrapper: a command line that executes criu. fds: descriptors that criu inherits.
    setup: called in the new process. meanwhile: called while criu runs.
    """
    log = f"{work}/{action}.log"
    line = [*wrapper, program(), action, "--work-dir", work, "--log-file", log, "-v4", *arguments]
    with open(os.devnull, "rb+") as null:
        process = subprocess.Popen(
            line, stdin=null, stdout=null, stderr=null, pass_fds=tuple(fds), preexec_fn=setup
        )
        if meanwhile:
            try:
                meanwhile(process)
            except BaseException:
                process.kill()
                process.wait()
                raise
        status = process.wait()
    if status:
        raise failure(action, log, status)


def failure(action: str, log: str, status: int) -> Error:
    """The first error of the log is the cause; what follows it is the undoing."""
    try:
        lines = Path(log).read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    errors = [match[1] for line in lines if (match := _ERROR.match(line))]
    cause = next((line for line in errors if not any(words in line for words in _HARMLESS)), "")
    if not cause:
        cause = f"exit status {status}" if status > 0 else f"ended by signal {-status}"
    hint = f"there is no log {log}"
    if lines:
        hint = "\n".join([f"criu's log is {log}; its end:", *lines[-_TAIL:]])
    unfit = check()
    if unfit:
        hint = f"criu can't work on this kernel, `criu check` says: {unfit}\n{hint}"
    return Error(f"criu {action} failed: {cause}", code="criu", step="criu", subject=log, hint=hint)


def check() -> str:
    """What `criu check` finds missing on this host; "" when all is there."""
    done = subprocess.run([program(), "check"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode == 0:
        return ""
    lines = (done.stdout + done.stderr).splitlines()
    return next((line for line in lines if line.startswith("Error")), f"exit status {done.returncode}")


def directories(options: dict[str, Any], make: bool) -> tuple[str, str]:
    """The directories of images and of the log, absolute; dump makes what is missing."""
    image = options["image_path"]
    if make:
        os.makedirs(image, mode=0o700, exist_ok=True)
    elif not os.path.isdir(image):
        raise Error(
            f"there are no images of a checkpoint: {image}",
            code="criu-images",
            step="criu",
            subject=image,
            hint="--image-path names the directory that checkpoint has filled",
        )
    work = options["work_path"] or image
    os.makedirs(work, mode=0o700, exist_ok=True)
    return image, work
