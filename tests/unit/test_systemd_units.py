"""What the systemd driver asks for: names, places and properties. Nothing here talks to systemd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pyrunc.cgroup import unit_properties
from pyrunc.cgroup.dbus import Refusal
from pyrunc.cgroup.gvariant import parse
from pyrunc.cgroup.unit import drop_unknown, expand, names
from pyrunc.errors import Error

INFINITY = unit_properties.INFINITY


@pytest.mark.parametrize(
    ("path", "user", "expected"),
    [
        ("machine.slice:libpod:abc", False, ("machine.slice", "libpod-abc.scope")),
        (":docker:abc", False, ("system.slice", "docker-abc.scope")),
        ("a-b.slice::abc", False, ("a-b.slice", "-abc.scope")),
        ("a.slice:x:b.slice", False, ("a.slice", "b.slice")),
        (None, False, ("system.slice", "pyrunc-ID.scope")),
        (None, True, ("user.slice", "pyrunc-ID.scope")),
    ],
)
def test_unit_of_a_cgroups_path(path: str | None, user: bool, expected: tuple[str, str]) -> None:
    assert names(path, "ID", user) == expected


@pytest.mark.parametrize("path", ["/a/b", "a:b", "a:b:", "a:b:c/d"])
def test_a_path_is_refused_with_the_form_it_should_have(path: str) -> None:
    with pytest.raises(Error) as error:
        names(path, "ID", False)
    assert error.value.path == "linux.cgroupsPath" and "SLICE:PREFIX:NAME" in error.value.message


@pytest.mark.parametrize(
    ("slice", "path"),
    [("-.slice", ""), ("a.slice", "/a.slice"), ("a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice")],
)
def test_place_of_a_slice(slice: str, path: str) -> None:
    assert expand(slice) == path


@pytest.mark.parametrize("slice", ["a", "a--b.slice", "-a.slice", "a-.slice", "a/b.slice", ".slice"])
def test_what_is_no_slice(slice: str) -> None:
    with pytest.raises(Error, match="not the name of a slice"):
        expand(slice)


def properties(resources: dict[str, Any], user: bool = False, update: bool = False) -> dict[str, Any]:
    return {name: value for name, (_, value) in unit_properties.of_resources(resources, user, update)}


def of_v1(resources: dict[str, Any], update: bool = False) -> dict[str, Any]:
    return {name: value for name, (_, value) in unit_properties.of_resources_v1(resources, update)}


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({"memory": {"limit": 100}}, {"MemoryMax": 100}),
        ({"memory": {"limit": -1}}, {"MemoryMax": INFINITY}),
        ({"memory": {"limit": 100, "swap": 150}}, {"MemoryMax": 100, "MemorySwapMax": 50}),
        ({"memory": {"limit": 100, "swap": -1}}, {"MemoryMax": 100, "MemorySwapMax": INFINITY}),
        ({"memory": {"reservation": 50}}, {"MemoryLow": 50}),
        ({"cpu": {"shares": 1024}}, {"CPUWeight": 100}),
        ({"cpu": {"shares": 1024, "idle": 1}}, {"CPUWeight": 0}),
        ({"cpu": {"quota": 20000}}, {"CPUQuotaPerSecUSec": 200000}),
        (
            {"cpu": {"quota": 12345, "period": 100000}},
            {"CPUQuotaPeriodUSec": 100000, "CPUQuotaPerSecUSec": 130000},
        ),
        ({"cpu": {"quota": -1}}, {"CPUQuotaPerSecUSec": INFINITY}),
        ({"cpu": {"cpus": "0-2,8"}}, {"AllowedCPUs": [0b111, 1]}),
        ({"pids": {"limit": 0}}, {"TasksMax": 1}),
        ({"pids": {"limit": -1}}, {"TasksMax": INFINITY}),
        (
            {"unified": {"memory.high": "max", "memory.oom.group": "1"}},
            {"MemoryHigh": INFINITY, "OOMPolicy": "kill"},
        ),
        ({"unified": {"cpu.max": "5000 10000"}}, {"CPUQuotaPeriodUSec": 10000, "CPUQuotaPerSecUSec": 500000}),
        ({"unified": {"memory.low": "nonsense", "io.weight": "5"}}, {}),
        (
            {"unified": {"memory.max": "64M", "memory.high": "99E"}},
            {"MemoryMax": 64 << 20, "MemoryHigh": INFINITY},
        ),
        (
            {"cpu": {"quota": 2**63 - 1, "period": 1000}},
            {"CPUQuotaPeriodUSec": 1000, "CPUQuotaPerSecUSec": INFINITY},
        ),
        ({"blockIO": {"weight": 500}}, {"IOWeight": 4500}),
        (
            {
                "blockIO": {
                    "weightDevice": [{"major": 8, "minor": 0, "weight": 50}],
                    "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1000}],
                    "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 0}],
                }
            },
            {
                "IODeviceWeight": [("/dev/block/8:0", 50)],
                "IOReadBandwidthMax": [("/dev/block/8:0", 1000)],
                "IOWriteIOPSMax": [("/dev/block/8:16", INFINITY)],
            },
        ),
    ],
)
def test_limit_as_property(resources: dict[str, Any], expected: dict[str, Any]) -> None:
    assert properties(resources) == expected


@pytest.mark.parametrize("of_resources", [of_v1, properties])
def test_an_update_to_no_processes_at_all_changes_nothing(
    of_resources: Callable[..., dict[str, Any]],
) -> None:
    """Engines send 0 for what they do not change."""
    assert of_resources({"pids": {"limit": 0}}, update=True) == {}
    assert of_resources({"pids": {"limit": 5}}, update=True) == {"TasksMax": 5}


@pytest.mark.parametrize("number", ["²", "9" * 5000, "٣"])
@pytest.mark.parametrize("key", ["cpu.max", "memory.max"])
def test_what_looks_like_a_number_is_left_to_the_kernel(key: str, number: str) -> None:
    assert properties({"unified": {key: number}}) == {}


DENY_ALL = {"allow": False, "access": "rwm"}


def test_devices_are_the_union_of_what_is_allowed() -> None:
    gpu = {"allow": True, "type": "c", "major": 195, "access": "rw"}
    disk = {"allow": True, "type": "b", "major": 8, "minor": 1, "access": "r"}
    found = properties({"devices": [DENY_ALL, gpu, disk]})
    assert found["DevicePolicy"] == "strict"
    allowed = dict(found["DeviceAllow"])
    assert allowed["char-195"] == "rw" and allowed["/dev/block/8:1"] == "r"
    assert allowed["/dev/char/1:3"] == "rwm" and allowed["char-*"] == "m"


def test_devices_that_are_all_allowed() -> None:
    assert properties({"devices": [{"allow": True, "access": "rwm"}]})["DevicePolicy"] == "auto"


def test_a_users_manager_restricts_no_devices() -> None:
    assert properties({"devices": [DENY_ALL]}, user=True) == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'infinity'", ("s", "infinity")),
        ("true", ("b", True)),
        ("5", ("i", 5)),
        ("uint64 5000000", ("t", 5000000)),
        ("0.5", ("d", 0.5)),
        ("['a', 'b, c']", ("as", ["a", "b, c"])),
        ("@as []", ("as", [])),
        ('"it\'s"', ("s", "it's")),
    ],
)
def test_annotations_are_gvariant_text(text: str, expected: tuple[str, Any]) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize("text", ["", "infinity", "'open", "[1, ", "[]", "uint64 x", "maybe"])
def test_text_that_is_no_gvariant(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)


def test_seconds_become_what_the_bus_counts_in() -> None:
    found = unit_properties.of_annotations({"org.systemd.property.TimeoutStopSec": "uint64 5", "other": "x"})
    assert found == [("TimeoutStopUSec", ("t", 5000000))]


def test_a_broken_annotation_is_named() -> None:
    with pytest.raises(Error) as error:
        unit_properties.of_annotations({"org.systemd.property.TimeoutStopSec": "soon"})
    assert error.value.path == 'annotations["org.systemd.property.TimeoutStopSec"]'


def test_an_older_systemd_does_without_what_it_does_not_know() -> None:
    """Only properties that the cgroup's files do as well are left out, and nothing of the user's own."""
    asked = [("OOMPolicy", ("s", "kill")), ("Slice", ("s", "a.slice"))]
    name = "org.freedesktop.DBus.Error.PropertyReadOnly"
    assert drop_unknown(asked, Refusal(name, "Cannot set property OOMPolicy, or unknown property."))
    assert [each[0] for each in asked] == ["Slice"]
    assert not drop_unknown(asked, Refusal(name, "Cannot set property Slice, or unknown property."))
    assert not drop_unknown(asked, Refusal("org.freedesktop.systemd1.UnitExists", "OOMPolicy"))
