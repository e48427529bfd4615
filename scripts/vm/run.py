"""Run a script in the guest: run.py CACHE PROJECT_DIR SCRIPT SECONDS [KERNEL_ARGUMENT...].

Its output is shown as it comes. The exit status is the script's; 124 after SECONDS (start of the guest
included), 125 when the guest failed. The disk is a throw-away copy. KVM is used where it works, else the
processor is emulated, at about a twentieth of the speed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

QEMU = "qemu-system-x86_64"
KERNEL = "root=/dev/vda console=ttyS0 quiet systemd.unified_cgroup_hierarchy=1 mitigations=off panic=-1"
KVM_PATIENCE = 12.0  # seconds until a guest under KVM must have said a first word


def accelerators() -> list[list[str]]:
    """What to try, best first. Nehalem has all that Debian needs; more only costs time when emulated."""
    emulated = ["-accel", "tcg,thread=multi", "-cpu", "Nehalem"]
    if os.environ.get("VM_ACCEL") == "tcg" or not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return [emulated]
    return [["-accel", "kvm", "-cpu", "host"], emulated]


def qemu(cache: Path, work: Path, accelerator: list[str], arguments: list[str]) -> list[str]:
    def port(name: str) -> list[str]:
        chardev = f"file,id={name},path={work / name}"
        return ["-chardev", chardev, "-device", f"virtserialport,chardev={name},name={name}"]

    def disk(name: str, file: Path, options: str) -> list[str]:
        drive = f"if=none,id={name},file={file},format=raw,{options}"
        return ["-drive", drive, "-device", f"virtio-blk-pci,drive={name}"]

    return [
        QEMU, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-machine", "pc",
        *accelerator, "-smp", "2", "-m", "2048",
        "-kernel", str(cache / "vmlinuz"), "-initrd", str(cache / "initrd"),
        "-append", " ".join([KERNEL, *arguments]),
        "-serial", f"file:{work / 'console'}", "-device", "virtio-rng-pci",
        *disk("root", cache / "disk.raw", "snapshot=on,cache=unsafe"),
        *disk("project", work / "project.tar", "readonly=on"),
        "-netdev", "user,id=net,restrict=on", "-device", "virtio-net-pci,netdev=net,romfile=",
        "-device", "virtio-serial-pci", *port("output"), *port("status"),
    ]  # fmt: skip


def pack(project: Path, script: Path, work: Path) -> None:
    shutil.copy(script, project / "vm-job.sh")
    archive = str(work / "project.tar")
    subprocess.run(["tar", "-C", str(project), "--owner=0", "--group=0", "-cf", archive, "."], check=True)


def attempt(command: list[str], work: Path, end: float, patience: float) -> int | None:
    """One start of the guest; None when it never said a word."""
    for name in ("output", "status", "console"):
        (work / name).write_bytes(b"")
    with (work / "log").open("wb") as log:
        machine = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    silent_until = time.monotonic() + patience
    try:
        with (work / "output").open("rb") as output:
            while True:
                over = machine.poll() is not None
                text = output.read()
                sys.stdout.buffer.write(text)
                sys.stdout.buffer.flush()
                silent = not output.tell() and not (work / "console").stat().st_size
                if silent and (over or time.monotonic() > silent_until):
                    return None
                if over:
                    return verdict(work)
                if time.monotonic() > end:
                    print("vm: stopped: not done in time", file=sys.stderr)
                    return 124
                if not text:
                    time.sleep(0.2)
    finally:
        machine.kill()
        machine.wait()


def verdict(work: Path) -> int:
    said = (work / "status").read_text().strip()
    if said.isdigit():
        return int(said)
    print("vm: the guest ended without a result; the end of its console:", file=sys.stderr)
    print("\n".join((work / "console").read_text(errors="replace").splitlines()[-30:]), file=sys.stderr)
    print((work / "log").read_text(errors="replace"), file=sys.stderr)
    return 125


def main() -> int:
    cache, project, script = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    end = time.monotonic() + float(sys.argv[4])
    arguments = sys.argv[5:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="pyrunc-vm.") as directory:
        work = Path(directory)
        pack(project, script, work)
        tries = accelerators()
        for number, accelerator in enumerate(tries):
            patience = KVM_PATIENCE if number + 1 < len(tries) else 180.0
            result = attempt(qemu(cache, work, accelerator, arguments), work, end, patience)
            if result is not None:
                return result
            print(f"vm: no word from the guest with {' '.join(accelerator)}", file=sys.stderr)
        return verdict(work)


if __name__ == "__main__":
    sys.exit(main())
