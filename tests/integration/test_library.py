"""pyrunc as a library: a Python process makes, starts and ends a container in-process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.harness import PROGRAM, Runtime

SCRIPT = """
import sys, time
import pyrunc

root, id, bundle = sys.argv[1:]
pyrunc.create(root, id, bundle)
print(pyrunc.state(root, id)["status"])
pyrunc.start(root, id)
print(pyrunc.state(root, id)["status"], len(pyrunc.processes(root, id)))
try:
    pyrunc.create(root, id, bundle)
except pyrunc.AlreadyExists as error:
    print(error.code)
pyrunc.kill(root, id, 9)
while pyrunc.state(root, id)["status"] != "stopped":
    time.sleep(0.01)
pyrunc.delete(root, id)
print(pyrunc.containers(root))
"""


def test_a_whole_life(runtime: Runtime) -> None:
    if Path(PROGRAM).name != "pyrunc":
        pytest.skip("the library is pyrunc's own")
    container = runtime.sh("exec sleep 100")
    container.write()
    done = subprocess.run(
        [sys.executable, "-I", "-c", SCRIPT, str(runtime.root), container.id, str(container.bundle)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.stdout.splitlines() == ["created", "running 1", "already-exists", "[]"], done.stdout
