"""linux.intelRdt, on a directory that looks like a resctrl file system."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyrunc.errors import Error
from pyrunc.resctrl import Resctrl, join, mount_point, parse, remove
from pyrunc.spec import Object

pytestmark = pytest.mark.spec("linux.intelRdt")
SCHEMATA = "    L3:0=fffff;1=fffff\n    MB:0=100;1=100\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A mount point of resctrl: the default class, and another that is there already."""
    for group in (tmp_path, tmp_path / "given"):
        group.mkdir(exist_ok=True)
        (group / "mon_groups").mkdir()
        (group / "schemata").write_text(SCHEMATA)
        (group / "tasks").touch()
    return tmp_path


def groups(root: Path, id: str = "container", **rdt: Any) -> Resctrl:
    return Resctrl(Object(rdt, "linux.intelRdt"), id, str(root))


def made(root: Path, wanted: Resctrl, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make them; the kernel fills a new group with its files."""
    import pyrunc.resctrl

    def mkdir(path: str, mode: int) -> None:
        group = Path(path)
        group.mkdir(mode)
        (group / "tasks").touch()
        if group.parent == root:
            (group / "mon_groups").mkdir()
            (group / "schemata").touch()

    monkeypatch.setattr(pyrunc.resctrl.posix, "mkdir", mkdir)
    wanted.make()


@pytest.mark.spec("linux.intelRdt.closID")
def test_without_a_name_the_class_is_the_containers_own_and_goes_with_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = groups(root, l3CacheSchema="L3:0=f;1=f0")
    made(root, wanted, monkeypatch)
    join(wanted.groups, 123)
    assert (root / "container" / "schemata").read_text() == "L3:0=f;1=f0\n"
    assert (root / "container" / "tasks").read_text() == "123"
    assert wanted.removes == [str(root / "container")]


def test_a_class_that_create_made_for_a_name_stays(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = groups(root, closID="shared", memBwSchema="MB:0=50")
    made(root, wanted, monkeypatch)
    assert wanted.makes == wanted.made == [str(root / "shared")]
    assert wanted.removes == []


@pytest.mark.spec("EW-12")
def test_a_name_without_a_schema_must_be_there(root: Path) -> None:
    assert groups(root, closID="given").makes == []
    with pytest.raises(Error, match="does not exist") as caught:
        groups(root, closID="missing")
    assert caught.value.path == "linux.intelRdt.closID"


def test_a_slash_is_the_default_class(root: Path) -> None:
    wanted = groups(root, closID="/")
    assert (wanted.groups, wanted.makes) == ([str(root)], [])


@pytest.mark.spec("EW-12", "linux.intelRdt.schemata")
@pytest.mark.parametrize(
    ("schemata", "same"),
    [
        (["L3:0=fffff"], True),
        (["L3:1=0FFFFF;0=fffff", "MB:0=100"], True),
        (["L3:0=ffff"], False),
        (["MB:0=10"], False),
        (["L2:0=ff"], False),
    ],
)
def test_a_class_that_is_there_must_have_the_schema(root: Path, schemata: list[str], same: bool) -> None:
    if same:
        assert groups(root, closID="given", schemata=schemata).makes == []
        return
    with pytest.raises(Error, match="another schema"):
        groups(root, closID="given", schemata=schemata)


@pytest.mark.spec("linux.intelRdt.l3CacheSchema", "linux.intelRdt.memBwSchema", "linux.intelRdt.schemata")
def test_the_order_of_the_schemata(root: Path) -> None:
    wanted = groups(root, schemata=["L3:1=1"], memBwSchema="MB:0=50", l3CacheSchema="L3:0=f")
    assert wanted.schemata == ["L3:0=f", "MB:0=50", "L3:1=1"]


@pytest.mark.spec("linux.intelRdt.enableMonitoring")
def test_monitoring_has_a_group_of_the_containers_own(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = groups(root, closID="given", enableMonitoring=True)
    made(root, wanted, monkeypatch)
    join(wanted.groups, 7)
    group = root / "given" / "mon_groups" / "container"
    assert (group / "tasks").read_text() == "7"
    assert wanted.removes == [str(group)]
    (group / "tasks").unlink()  # in the kernel's file system, files do not keep a group from being removed
    remove([*wanted.removes, str(root / "gone")])
    assert not group.exists()


@pytest.mark.spec("EW-12")
def test_a_monitoring_group_that_cannot_be_made_is_an_error(root: Path) -> None:
    wanted = groups(root, closID="given", enableMonitoring=True)
    (root / "given" / "mon_groups" / "container").mkdir()
    with pytest.raises(Error) as caught:
        wanted.make()
    assert caught.value.path == "linux.intelRdt.enableMonitoring"
    assert wanted.made == []  # it is somebody else's, and must not be undone
    # Nor is it when it was there before.
    with pytest.raises(Error, match="can't be made"):
        groups(root, closID="given", enableMonitoring=True)


@pytest.mark.spec("EW-12")
def test_a_host_without_resctrl_is_an_error() -> None:
    if "- resctrl " in Path("/proc/self/mountinfo").read_text():
        pytest.skip("this host has it")
    with pytest.raises(Error) as caught:
        mount_point()
    assert caught.value.path == "linux.intelRdt" and caught.value.hint


def test_schemata_are_compared_as_numbers() -> None:
    assert parse(["L3:0=0f; 1=F0", "MB:0=100"]) == {"L3": {"0": 15, "1": 240}, "MB": {"0": 100}}
