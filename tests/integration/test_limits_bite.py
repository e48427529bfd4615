"""Limits of `linux.resources`, by what they do to a program that goes beyond them."""

from __future__ import annotations

from tests.integration.harness import Container, Runtime, cgroup_file, wait_for


def limited(container: Container, **resources: dict[str, int]) -> Container:
    container.config["linux"]["resources"].update(resources)
    return container


def throttled(container: Container) -> int:
    lines = cgroup_file(container, "cpu", "cpu.stat").splitlines()
    return int(dict(line.split() for line in lines)["nr_throttled"])


def test_memory(runtime: Runtime) -> None:
    """Without its newline, tail keeps all that it reads."""
    limit = 32 << 20
    container = limited(runtime.container("tail", "/dev/zero"), memory={"limit": limit, "swap": limit})
    container.run().failed(137)


def test_memory_within_the_limit(runtime: Runtime) -> None:
    container = runtime.sh("head -c 8388608 /dev/zero | tail | wc -c")
    assert limited(container, memory={"limit": 32 << 20}).run().ok().lines == ["8388608"]


def test_pids(runtime: Runtime) -> None:
    """The sixth process cannot be: the shell and four sleeps are there."""
    container = runtime.sh("for n in 1 2 3 4 5 6 7 8; do sleep 100 & echo $n; done; echo not reached")
    result = limited(container, pids={"limit": 5}).run().failed()
    assert result.lines == ["1", "2", "3", "4"], result
    assert "can't fork: Resource temporarily unavailable" in result.stderr


def test_cpu(runtime: Runtime) -> None:
    container = runtime.sh("while :; do :; done")
    limited(container, cpu={"quota": 2000, "period": 10000}).started()
    before = throttled(container)
    wait_for(lambda: throttled(container) >= before + 5, "it is not throttled")
