"""What an update leaves behind, and what cgroup v2 has to know of the limits before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyrunc import updating
from pyrunc.updating import merged, update_container, with_period, with_swap
from tests.unit.test_state_directory import directory

BEFORE = {"memory": {"limit": 64, "swap": 96}, "cpu": {"shares": 5, "burst": 7}, "pids": {"limit": 9}}


@pytest.mark.parametrize(
    ("resources", "after"),
    [
        ({}, BEFORE),
        ({"memory": {"limit": 80}}, {**BEFORE, "memory": {"limit": 80, "swap": 96}}),
        ({"memory": {"limit": 0, "swap": None}, "pids": {"limit": 0}}, BEFORE),
        ({"cpu": {"burst": 0, "idle": 0}}, {**BEFORE, "cpu": {"shares": 5, "burst": 0, "idle": 0}}),
        ({"devices": [{"allow": False}]}, BEFORE),
        ({"unified": {"memory.high": "5"}}, {**BEFORE, "unified": {"memory.high": "5"}}),
    ],
)
def test_merged(resources: dict[str, Any], after: dict[str, Any]) -> None:
    assert merged(BEFORE, resources) == after


@pytest.mark.parametrize(
    ("memory", "written"),
    [
        ({"swap": 128}, {"limit": 64, "swap": 128}),
        ({"limit": 80}, {"limit": 80, "swap": 96}),
        ({"limit": 80, "swap": 128}, {"limit": 80, "swap": 128}),
        ({"limit": -1}, {"limit": -1}),
        ({"swap": -1}, {"swap": -1}),
        ({"reservation": 5}, {"reservation": 5}),
    ],
)
def test_memory_and_swap_of_v2(memory: dict[str, int], written: dict[str, int]) -> None:
    assert with_swap({"memory": memory}, BEFORE)["memory"] == written


@pytest.mark.parametrize(
    ("cpu", "written"),
    [
        ({"quota": 10000}, {"quota": 10000, "period": 50000}),
        ({"quota": -1}, {"quota": -1, "period": 50000}),
        ({"period": 20000}, {"quota": 25000, "period": 20000}),
        ({"quota": 10000, "period": 20000}, {"quota": 10000, "period": 20000}),
        ({"shares": 100}, {"shares": 100}),
    ],
)
def test_quota_and_period_know_each_other(cpu: dict[str, int], written: dict[str, int]) -> None:
    """A quota alone would else be one of the default period."""
    assert with_period({"cpu": cpu}, {"cpu": {"quota": 25000, "period": 50000}})["cpu"] == written


class FakeCgroup:
    """Notes what an update hands to the driver."""

    def __init__(self, version: str, adopts: bool) -> None:
        self.version = version
        self.adopts = lambda: adopts
        self.given: dict[str, Any] = {}

    def paths(self) -> dict[str, str]:
        return {}

    def update(self, resources: dict[str, Any]) -> None:
        self.given = resources


@pytest.fixture
def cgroup(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCgroup:
    directory(tmp_path, "one")
    found = FakeCgroup(*request.param)
    monkeypatch.setattr(updating, "cgroup_of", lambda state: found)
    monkeypatch.setattr(updating, "status_of", lambda state: "running")
    monkeypatch.setattr(updating, "_limits", lambda state: {"cpu": {"quota": 25000, "period": 50000}})
    return found


@pytest.mark.parametrize(
    ("cgroup", "period"),
    [(("v1", False), None), (("v1", True), 50000), (("v2", False), 50000)],
    indirect=["cgroup"],
)
def test_systemd_has_to_know_the_period_on_v1_too(
    cgroup: FakeCgroup, period: int | None, tmp_path: Path
) -> None:
    update_container(str(tmp_path), "one", {"cpu": {"quota": 10000}})
    assert cgroup.given["cpu"].get("period") == period


@pytest.mark.parametrize(
    ("cgroup", "changed"),
    [(("v1", False), False), (("v1", True), False), (("v2", False), True)],
    indirect=["cgroup"],
)
def test_devices_stay_on_v1(cgroup: FakeCgroup, changed: bool, tmp_path: Path) -> None:
    update_container(str(tmp_path), "one", {"devices": [{"allow": True}], "pids": {"limit": 5}})
    assert cgroup.given["pids"] == {"limit": 5}
    assert ("devices" in cgroup.given) == changed
