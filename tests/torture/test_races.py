"""Starts against four processes that exchange names under every place that the runtime makes or mounts at.

Nothing outside of the rootfs changes, and nothing hangs. RACE_STARTS is the number of starts, 100 if unset.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.integration.harness import Container, Runtime
from tests.security.attack import (
    Treasure,
    add_mount,
    civil,
    exchanging,
    moving,
    nothing_left,
    own_directory,
    volume,
)

STARTS = int(os.environ.get("RACE_STARTS", "100"))


def hostile(container: Container, out: Path) -> tuple[tuple[Path, Path], ...]:
    """Four pairs of names in the rootfs; the last one's first name moves, the others are exchanged."""
    shared = own_directory(container, "shared")
    for name in ("absolute", "climbing", "dangling", "parent"):
        (shared / name).mkdir()
    (shared / "absolute-out").symlink_to(out)
    (shared / "climbing-out").symlink_to(f"../../../../../../../..{out}")
    (shared / "dangling-out").symlink_to(f"{out}/new/deep")
    (shared / "parent" / "link").symlink_to("inner/../../../../../escaped/here")
    inner = shared / "parent" / "inner"
    inner.mkdir()
    pairs = [(shared / name, shared / f"{name}-out") for name in ("absolute", "climbing", "dangling")]
    return (*pairs, (inner, shared / "gone"))


def at_every_place(container: Container) -> None:
    """Mounts, devices, masks and the working directory below the names that are exchanged."""
    source = volume(container.runtime)
    for place in ("/shared/absolute", "/shared/climbing/made/deep", "/shared/parent/link"):
        add_mount(container, place, type="bind", source=str(source), options=["rbind"])
    for place in ("/shared/absolute/file", "/shared/dangling/file"):
        add_mount(container, place, type="bind", source=str(source / "file"), options=["bind", "ro"])
    for place in ("/shared/climbing", "/shared/dangling/made", "/shared/parent/inner"):
        add_mount(container, place, type="tmpfs", source="tmpfs")
    linux = container.config["linux"]
    linux["devices"] = [
        {"path": f"/shared/{name}/null", "type": "c", "major": 1, "minor": 3}
        for name in ("absolute", "climbing", "dangling")
    ]
    linux["maskedPaths"] = ["/shared/absolute/file", "/shared/dangling"]
    linux["readonlyPaths"] = ["/shared/climbing", "/shared/parent/inner"]
    container.config["process"]["cwd"] = "/shared/dangling/work"


def test_starts_against_four_that_exchange_names(runtime: Runtime) -> None:
    container = runtime.container("/bin/true")
    treasure = Treasure(container)
    *exchanged, moved = hostile(container, treasure.directory)
    at_every_place(container)
    good, longest = 0, 0.0
    with exchanging(*exchanged), moving(moved):
        for number in range(STARTS):
            begin = time.monotonic()
            good += civil(container.run()).status == 0
            longest = max(longest, time.monotonic() - begin)
            if number % 50 == 0:
                treasure.check()
    print(f"{STARTS} starts, {good} of them went well, the longest took {longest:.2f} s")
    treasure.check()
    nothing_left(container)
    assert not (runtime.tmp / "escaped").exists() and not (container.bundle / "escaped").exists()
    assert good, "none of the starts went well: the race was not one"
