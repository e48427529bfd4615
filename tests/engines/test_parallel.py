"""A hundred containers at once: all start, all stop, nothing is left."""

from __future__ import annotations

import concurrent.futures
import shutil
from pathlib import Path

import pytest

from . import columns
from .engine import Containerd, Engine, Podman, ok
from .images import IMAGE

MANY = 100
AT_ONCE = 20  # client programs; the containers live side by side


def leftovers(engine: Engine) -> list[str]:
    """Cgroups, state and processes of the sandbox's containers."""
    state = "ls -d /run/$0/* /run/containerd/runc/*/* 2>/dev/null"
    found = engine.sandbox.run("sh", "-c", state, engine.runtime).stdout.split()
    found += engine.sandbox.cgroups()
    found += [
        str(folder)
        for top in Path("/sys/fs/cgroup").glob(f"*/{engine.sandbox.name}")
        for folder in top.rglob("*/")
        if folder.name != "conmon"  # podman's own, and empty
    ]
    processes = engine.sandbox.run("ps", "-eo", "args").stdout.splitlines()
    return found + [line for line in processes if line.startswith("sleep 1000")]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Containerd, Podman])
def test_a_hundred_containers(kind: type[Engine]) -> None:
    missing = [command for command in kind.commands if not shutil.which(command)]
    if missing:
        pytest.skip(f"not installed: {' '.join(missing)} (make engines installs them)")
    names = [f"many-{number}" for number in range(MANY)]
    with columns.Running(columns.RUNTIME) as running, concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        engine = running[kind.name]

        def start(name: str) -> None:
            if isinstance(engine, Containerd):
                runtime = ("--runtime", "io.containerd.runc.v2", "--runc-binary", engine.runtime)
                cgroup = ("--cgroup", f"/{engine.sandbox.name}/{name}")
                ok(engine("run", "-d", *runtime, *cgroup, IMAGE, name, "sleep", "1000", timeout=300))
            else:
                words = ("run", "-d", *engine.options(()), "--name", name, IMAGE, "sleep", "1000")
                ok(engine(*words, timeout=300))

        def stop(name: str) -> None:
            if isinstance(engine, Containerd):
                ok(engine("task", "kill", "-s", "SIGKILL", name, timeout=300))
                engine("task", "rm", "-f", name, timeout=300)
                ok(engine("container", "rm", name, timeout=300))
            else:
                ok(engine("stop", "-t", "0", name, timeout=300))
                ok(engine("rm", name, timeout=300))

        list(pool.map(start, names))
        processes = engine.sandbox.run("ps", "-eo", "args").stdout.splitlines()
        assert sum(line.startswith("sleep 1000") for line in processes) == MANY
        list(pool.map(stop, names))
        assert leftovers(engine) == []
