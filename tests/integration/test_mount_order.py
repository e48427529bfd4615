"""mounts[] in the listed order, as the container's own mountinfo shows it."""

from __future__ import annotations

import pytest

from tests.integration.harness import Runtime, default_config, peers_differ

PROPAGATIONS = ("private", "slave", "shared", "unbindable")


@pytest.mark.spec("mounts")
@pytest.mark.parametrize("bind", ["bind", "rbind"])
def test_order(runtime: Runtime, bind: str) -> None:
    """A bind between others keeps its place; mountinfo goes by the time of cloning."""
    peers_differ("crun", why="mounts in another order")
    config = default_config("/bin/cat", "/proc/self/mountinfo")
    source = runtime.tmp / "source"
    source.mkdir()
    for propagation in PROPAGATIONS:
        options = [bind, ("r" if bind == "rbind" else "") + propagation]
        config["mounts"] += [
            {"destination": f"/mnt/{propagation}", "source": str(source), "options": options},
            {"destination": f"/mnt/after-{propagation}", "type": "tmpfs", "source": "tmpfs"},
        ]
    lines = runtime.container(config=config).run().ok().lines
    points = [line.split()[4] for line in lines if line.split()[4].startswith("/mnt/")]
    assert points == [f"/mnt/{prefix}{p}" for p in PROPAGATIONS for prefix in ("", "after-")]
    tags = {line.split()[4]: line.split(" - ")[0].split()[6:] for line in lines}
    assert tags["/mnt/private"] == []
    assert tags["/mnt/unbindable"] == ["unbindable"]
    assert tags["/mnt/shared"][0].startswith("shared:")


def test_missing_source(runtime: Runtime) -> None:
    config = default_config("/bin/true")
    entry = {"destination": "/mnt/it", "source": "/does/not/exist", "options": ["bind", "private"]}
    config["mounts"].append(entry)
    result = runtime.container(config=config).run().failed()
    assert "/does/not/exist" in result.stderr
