"""In a new pid namespace: a container ends, and another process gets its pid.

reuse_pid.py RUNTIME ROOT BUNDLE ID; prints what the runtime makes of it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

RUNTIME, ROOT, BUNDLE, ID = sys.argv[1:]


def runtime(*args: str) -> subprocess.CompletedProcess[str]:
    files = {"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "text": True}
    return subprocess.run([RUNTIME, "--root", ROOT, *args], stdout=subprocess.PIPE, **files)  # type: ignore


def victim(pid: int) -> int:
    """A process with that pid, if the kernel gives it."""
    Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(0)
    return child


subprocess.run([RUNTIME, "--root", ROOT, "run", "--detach", "--bundle", BUNDLE, ID], check=True)
pid = json.loads(runtime("state", ID).stdout)["pid"]
time.sleep(0.05)  # a start is told from another by its time, in hundredths of a second
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)  # we are pid 1: orphans are ours
other = victim(pid)
told: dict[str, object] = {"reused": other == pid}
told["status"] = json.loads(runtime("state", ID).stdout)["status"]
told["kill"] = runtime("kill", ID, "KILL").returncode
told["delete"] = runtime("delete", "--force", ID).returncode
told["victim_lives"] = os.waitpid(other, os.WNOHANG) == (0, 0)
print(json.dumps(told))
