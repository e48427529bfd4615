#!/usr/bin/env python3
"""Compare the verbs of several runtimes, interleaved.

    bench/run.py [--rounds N] [--bundle def|dock] [RUNTIME…]

Where an empty cgroup v2 hierarchy is mounted beside v1, it is hidden in a mount namespace of the benchmark's
own: crun refuses that mixture.

Prints medians in ms: wall time, and CPU (user and system, of the runtime's process and of
the children that it waited for), then each runtime's ratio to the first one's CPU time.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import docker_like

VERBS = ("create", "start", "state", "exec", "kill", "delete", "run")
UNIFIED = "/sys/fs/cgroup/unified"
REPO = Path(__file__).resolve().parents[1]
Times = dict[tuple[str, str, str], list[tuple[float, float]]]


def rootfs(path: Path) -> None:
    busybox = shutil.which("busybox")
    if busybox is None:
        sys.exit("busybox not found: apt-get install busybox-static")
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
        (path / name).mkdir(parents=True)
    shutil.copy2(busybox, path / "bin" / "busybox")
    for applet in ("sh", "sleep", "true"):
        (path / "bin" / applet).symlink_to("busybox")


def default(args: list[str]) -> dict[str, Any]:
    """The bundle of `runc spec`: Docker's without what Docker adds."""
    config = docker_like.config(args)
    config["linux"].pop("seccomp")
    config["linux"].pop("sysctl")
    config["linux"]["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    return config


def make_bundles(work: Path, kinds: list[str]) -> None:
    """work/KIND (sleeps) and work/KIND-true for every kind."""
    rootfs(work / "rootfs")
    files = work / "files"
    files.mkdir()
    for name in ("resolv.conf", "hostname", "hosts"):
        (files / name).touch()
    for kind in kinds:
        for suffix, args in (("", ["/bin/sleep", "1000"]), ("-true", ["/bin/true"])):
            bundle = work / (kind + suffix)
            bundle.mkdir()
            config = docker_like.config(args, str(files)) if kind == "dock" else default(args)
            config["root"]["path"] = str(work / "rootfs")
            (bundle / "config.json").write_text(json.dumps(config))


def call(log: Path, *command: str) -> tuple[float, float]:
    """Run it; returns wall and CPU time in ms. Its output goes to `log`."""
    begin = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, close_fds=False
        )
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)}: {process.returncode}\n{log.read_text()}")
    return wall * 1000, (usage.ru_utime + usage.ru_stime) * 1000


def life(runtime: str, kind: str, work: Path, round_: int, times: Times) -> None:
    """Every verb once."""
    id_ = f"pyrunc-bench-{os.getpid()}-{round_}"
    log = work / "log"
    base = (runtime, "--root", str(work / f"state-{Path(runtime).name}"))

    def verb(name: str, *args: str) -> None:
        times[runtime, kind, name].append(call(log, *base, name, *args))

    try:
        verb("create", "--bundle", str(work / kind), id_)
        verb("start", id_)
        verb("state", id_)
        verb("exec", id_, "/bin/true")
        verb("kill", id_, "KILL")
        while b"stopped" not in subprocess.check_output([*base, "state", id_]):
            time.sleep(0.001)
        verb("delete", id_)
        verb("run", "--bundle", str(work / f"{kind}-true"), id_ + "-run")
    finally:
        for name in (id_, id_ + "-run"):
            if (work / f"state-{Path(runtime).name}" / name).exists():
                subprocess.run([*base, "delete", "--force", name], check=False)


def report(runtimes: list[str], kinds: list[str], times: Times) -> None:
    for kind in kinds:
        print(f"\n{kind}: median ms, wall / CPU; in brackets CPU against {runtimes[0]}")
        print(f"{'':8}" + "".join(f"{Path(name).name:>24}" for name in runtimes))
        sums = dict.fromkeys(runtimes, (0.0, 0.0))
        for verb in (*VERBS, "sum"):
            row = []
            for name in runtimes:
                if verb == "sum":
                    wall, cpu = sums[name]
                else:
                    walls, cpus = zip(*times[name, kind, verb], strict=True)
                    wall, cpu = statistics.median(walls), statistics.median(cpus)
                    sums[name] = (sums[name][0] + wall, sums[name][1] + cpu)
                row.append((wall, cpu))
            ratios = [cpu / row[0][1] if row[0][1] else 0 for _, cpu in row]
            cells = [f"{w:8.1f} /{c:6.1f} ({r:4.2f})" for (w, c), r in zip(row, ratios, strict=True)]
            print(f"{verb:8}" + "".join(f"{cell:>24}" for cell in cells))


def library(kinds: list[str], work: Path, rounds: int) -> None:
    """`run` called in a Python process that is there already."""
    import pyrunc

    root = str(work / "state-library")
    for kind in kinds:
        walls, cpus = [], []
        for round_ in range(-1, rounds):
            begin, before = time.perf_counter(), cpu_time()
            pyrunc.run(root, f"pyrunc-bench-{os.getpid()}-{round_}-lib", str(work / f"{kind}-true"))
            if round_ >= 0:
                walls.append((time.perf_counter() - begin) * 1000)
                cpus.append((cpu_time() - before) * 1000)
        wall, cpu = statistics.median(walls), statistics.median(cpus)
        print(f"{kind}: run by the library, in-process: {wall:.1f} / {cpu:.1f}")


def cpu_time() -> float:
    """Seconds of this process and of the children that it waited for."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def hide_unified() -> None:
    """Start again in a mount namespace without the v2 hierarchy of a hybrid host."""
    if not os.path.exists(f"{UNIFIED}/cgroup.procs"):
        return
    script = f'mount -t tmpfs none {UNIFIED} && exec "$@"'
    os.execvp("unshare", ["unshare", "-m", "sh", "-c", script, "sh", sys.executable, *sys.argv])


def main() -> None:
    hide_unified()
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--bundle", choices=("def", "dock"), action="append")
    parser.add_argument("runtime", nargs="*")
    options = parser.parse_args()
    kinds = options.bundle or ["def", "dock"]
    names = options.runtime or [str(REPO / ".venv" / "bin" / "pyrunc"), "crun", "runc"]
    runtimes = [found for name in names if (found := shutil.which(name))]
    if not runtimes:
        sys.exit("none of the runtimes is there")
    times: Times = defaultdict(list)
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        make_bundles(work, kinds)
        for round_ in range(-1, options.rounds):  # the first one warms the caches
            for kind in kinds:
                for runtime in runtimes:
                    life(runtime, kind, work, round_ + 1, times if round_ >= 0 else defaultdict(list))
        report(runtimes, kinds, times)
        library(kinds, work, options.rounds)


if __name__ == "__main__":
    main()
