"""What the host must have for a check: each function says what is lacking, or nothing.

They look at the host itself, without any runtime.
"""

from __future__ import annotations

import functools
from pathlib import Path

from .sandbox import Sandbox

BRIDGE = """
ip link add pyrunc-probe type bridge && ip link del pyrunc-probe || exit 1
ip link add pyrunc-a type veth peer name pyrunc-b && ip link del pyrunc-a || exit 1
iptables -t nat -N PYRUNC && iptables -t nat -X PYRUNC
"""

# Dumps a process of its own and restores it.
CRIU = """
mkdir $1 && cd $1 || exit 1
setsid sleep 1000 </dev/null >/dev/null 2>&1 &
criu dump -t $! -D $1 -o dump.log >/dev/null 2>&1 || { kill -9 $!; grep Error dump.log | tail -1; exit 1; }
criu restore -d -D $1 -o restore.log --pidfile pid >/dev/null 2>&1 ||
    { grep Error restore.log | head -1; exit 1; }
kill -9 $(cat pid)
"""


def bridge(sandbox: Sandbox) -> str:
    """A bridge, veth pairs and NAT by iptables in a network namespace of one's own."""
    done = sandbox.run("sh", "-c", BRIDGE)
    return "" if done.returncode == 0 else f"no bridge network: {done.stderr.strip()}"


def criu(sandbox: Sandbox) -> str:
    """A criu that can dump and restore a process on this kernel."""
    done = sandbox.run("sh", "-c", "command -v criu")
    if done.returncode != 0:
        return "no criu"
    return probed(sandbox, str(sandbox.work / "criu-probe"))


@functools.cache
def probed(sandbox: Sandbox, folder: str) -> str:
    done = sandbox.run("sh", "-c", CRIU, "sh", folder)
    return "" if done.returncode == 0 else f"criu can't restore a process: {done.stdout.strip()}"


def resource(sandbox: Sandbox) -> str:
    """The capability to raise hard limits."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:") and not int(line.split()[1], 16) >> 24 & 1:
            return "no CAP_SYS_RESOURCE: hard limits can't be raised"
    return ""


def cgroup(controller: str) -> object:
    """A controller of cgroup v1, or v2."""

    def need(sandbox: Sandbox) -> str:
        v2 = Path("/sys/fs/cgroup/cgroup.controllers")
        there = (
            controller in v2.read_text().split()
            if v2.exists()
            else Path(f"/sys/fs/cgroup/{controller}").is_dir()
        )
        return "" if there else f"no cgroup controller {controller}"

    return need
