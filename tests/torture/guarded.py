"""A container with every protection, which tells what it sees; and what a runtime has left behind."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from tests.integration import harness

# Not the ambient set: a capability that can't be raised there is a warning, and less than was asked for.
REPORT = r"""
see() {
  grep -E '^(Cap[^A]|NoNewPrivs|Seccomp|Uid|Gid|Groups|Umask|SigIgn|SigBlk|SigCgt)' /proc/self/status
  cut -d' ' -f 4- /proc/self/mountinfo | sed -E 's/(master|shared|ino)[:=][0-9]+/\1/g' | sort
  cat /proc/self/limits /proc/self/oom_score_adj /proc/sys/net/ipv4/ip_forward
  wc -c </proc/kcore
  ls /sys/firmware /proc/self/fd
  touch /made /proc/sys/kernel/hostname /fixed/made
  mkdir /tmp/forbidden
  hostname
  env | grep -v ^HOME= | sort
  readlink /proc/self/cwd
}
see >/out/$NAME.new 2>&1
mv /out/$NAME.new /out/$NAME
[ $NAME = exec ] || exec sleep 100
"""


def guarded(runtime: harness.Runtime) -> harness.Container:
    """Its cgroup bears its id, its environment too; what it sees goes to `out` in the bundle."""
    container = runtime.sh(REPORT)
    config = container.config
    out = container.bundle / "out"
    out.mkdir()
    for name in ("out", "fixed"):
        (container.rootfs / name).mkdir()
    config["process"]["env"] += ["NAME=start", f"MARKER={container.id}"]
    config["process"]["oomScoreAdj"] = 321
    config["process"]["user"] = {"uid": 0, "gid": 0, "additionalGids": [7], "umask": 0o27}
    config["root"]["readonly"] = True
    config["mounts"] += [
        {"destination": "/out", "type": "bind", "source": str(out), "options": ["bind"]},
        {"destination": "/fixed", "type": "bind", "source": str(container.bundle), "options": ["bind", "ro"]},
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "noexec"]},
    ]
    linux = config["linux"]
    linux["cgroupsPath"] = f"/{container.id}"
    linux["maskedPaths"] = ["/proc/kcore", "/sys/firmware"]
    linux["readonlyPaths"] = ["/proc/sys"]
    linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
    linux["resources"].update(memory={"limit": 64 << 20}, pids={"limit": 50})
    linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}],
    }
    container.write()
    return container


def seen(container: harness.Container, name: str, seconds: float = 0) -> str:
    """What the container has told, "" if nothing within that time; the same for each if all is well."""
    file = container.bundle / "out" / name
    end = time.monotonic() + seconds
    while not file.exists():
        if time.monotonic() >= end:
            return ""
        time.sleep(0.005)
    return plain(container, file.read_text())


def limits(container: harness.Container) -> str:
    """Its limits, and the cgroups that its process is in."""
    found = Path(f"/proc/{container.pid}/cgroup").read_text()
    for file in ("memory/%s/memory.limit_in_bytes", "pids/%s/pids.max", "devices/%s/devices.list"):
        path = harness.CGROUPS / (file % container.id)
        found += path.read_text() if path.exists() else f"no {file}\n"
    return plain(container, found)


def plain(container: harness.Container, text: str) -> str:
    """Without what differs from container to container."""
    text = text.replace(container.id, "ID").replace(str(container.bundle), "BUNDLE")
    return re.sub(r"bundle-\d+", "BUNDLE", text)


def left_of(container: harness.Container, seconds: float = 5) -> list[str]:
    """What is still there of a container that should be gone, after a time for init to notice."""
    end = time.monotonic() + seconds
    while (found := _left_of(container)) and time.monotonic() < end:
        time.sleep(0.01)
    return found


def _left_of(container: harness.Container) -> list[str]:
    found = [f"process {pid}" for pid in harness.marked(container.id)]
    # One that has not executed anything yet is known by the output it inherited.
    found += [f"process {pid}" for pid in harness.holding(container.bundle) if pid not in children()]
    found += [f"child {pid}" for pid in children()]
    found += [f"cgroup {path}" for path in harness.cgroups_of(container.id)]
    found += [f"mount {path}" for path in harness.mounts_below(container.bundle)]
    state = container.runtime.root / container.id
    found += [f"file {path}" for path in container.bundle.glob(".pid*")]
    return found + ([f"state {state}"] if state.exists() else [])


def children() -> list[int]:
    """The children of this process that have not been waited for."""
    pid = os.getpid()
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(child) for child in file.read().split()]
