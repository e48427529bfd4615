"""Many containers, 16 at a time: the host is the same at the end, and the last are as fast as the first.

SOAK is the number of containers, 200 if unset.
"""

from __future__ import annotations

import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.integration import harness
from tests.torture.guarded import children

COUNT = int(os.environ.get("SOAK", "200"))
AT_A_TIME = 16


def own_things(prefix: str) -> dict[str, int]:
    """How many of each kind there are that the containers of this test could have left."""
    keys = Path("/proc/keys").read_text().count(" _ses: ")
    cgroups = sum(
        1 for top in harness.hierarchies() for path in Path(top).iterdir() if path.name.startswith(prefix)
    )
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "children": len(children()),
        "cgroups": cgroups,
        "keyrings": keys,
    }


def more(after: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    return {name: number for name, number in after.items() if number > before[name]}


def life(container: harness.Container, id_: str) -> float:
    """create, start, end and delete; the seconds that it took."""
    runtime = container.runtime
    begin = time.monotonic()
    with container.output.open("ab") as output:
        bundle = ["--bundle", str(container.bundle)]
        assert runtime("create", *bundle, id_, stdout=output).status == 0, container.printed()
    runtime("start", id_).ok()
    runtime("kill", id_, "KILL")
    end = time.monotonic() + 10
    while runtime("delete", id_).status and time.monotonic() < end:
        time.sleep(0.002)
    assert not (runtime.root / id_).exists()
    return time.monotonic() - begin


def test_soak(runtime: harness.Runtime) -> None:
    harness.peers_differ("runc", "crun", why="nothing is promised for them")
    containers = [runtime.sleeper() for _ in range(AT_A_TIME)]
    for container in containers:
        container.config["linux"].pop("cgroupsPath", None)
        container.write()
    prefix = containers[0].id
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        list(pool.map(lambda container: life(container, container.id), containers))  # threads are there now
        before = own_things(prefix)
        mounts = len(harness.mounts_below(runtime.tmp))
        taken = list(pool.map(lambda n: life(containers[n % AT_A_TIME], f"{prefix}-{n}"), range(COUNT)))
        after = own_things(prefix)
    end = time.monotonic() + 30
    while more(after, before) and time.monotonic() < end:
        time.sleep(0.2)  # the kernel frees keyrings a little later
        after = own_things(prefix)
    first, last = statistics.median(taken[:100]), statistics.median(taken[-100:])
    print(f"{COUNT} containers, first {first * 1000:.0f} ms, last {last * 1000:.0f} ms: {after}")
    assert not more(after, before)
    assert len(harness.mounts_below(runtime.tmp)) == mounts
    assert last < first * 2, "the last are slower than the first"
