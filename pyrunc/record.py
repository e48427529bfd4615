"""The record of a container, `state.json`: what one that was written here has. Pure functions."""

from __future__ import annotations

from pyrunc.spec import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VERSION = 1
# What every record holds: it is written as a whole, or not at all.
_TYPES = {
    "version": int, "status": str, "pid": int, "start_time": int, "bundle": str, "rootfs": str,
    "created": str, "ociVersion": str, "freezer": str, "annotations": dict, "cgroup": dict, "mounts": list,
    "no_pivot": bool, "new_keyring": bool,
}  # fmt: skip
_PID_MAX = 1 << 22


def checked(record: Any) -> dict[str, Any]:
    """The record, if it can be one that was written here. Raises Refused."""
    shaped(record)
    if any(type(path) is not str for path in record["mounts"]):
        raise Refused("mounts", "not paths")
    under = record.get("under", [])
    if type(under) is not list or any(type(number) is not int for number in under):
        raise Refused("under", "not mounts")
    if not _is_cgroup(record["cgroup"]):
        raise Refused("cgroup", "not what a driver records")
    return record  # type: ignore[no-any-return]


def shaped(record: Any) -> dict[str, Any]:
    """The record, if it has all that every record has, in its type. Raises Refused."""
    if type(record) is not dict:
        raise Refused("", "not an object")
    for key, kind in _TYPES.items():
        if type(record.get(key)) is not kind:
            raise Refused(key, "missing, or of another type")
    if record["version"] != VERSION:
        raise Refused("version", f"{record['version']} instead of {VERSION}: of another pyrunc")
    if not 0 <= record["pid"] <= _PID_MAX or record["start_time"] < 0:
        raise Refused("pid", "not a pid")
    return record


def _is_cgroup(record: dict[str, Any]) -> bool:
    """Whether ``cgroup.restore`` can make a cgroup of it."""
    driver, version = record.get("driver"), record.get("version")
    names: tuple[str, ...] = ()
    if driver != "none":
        names = ("path",) if version == "v1" else ("path", "mountpoint", "made")
    if driver == "systemd":
        names += ("unit", "slice")
        if type(record.get("user")) is not bool:
            return False
    if driver != "none" and version == "v1":
        places = record.get("places")
        if type(places) is not list or not all(map(_is_place, places or [0])):
            return False
    return version in ("v1", "v2") and all(type(record.get(name)) is str for name in names)


def _is_place(place: Any) -> bool:
    if type(place) is not list or len(place) != 3 or type(place[0]) is not list or not place[0]:
        return False
    return all(type(text) is str for text in (*place[0], *place[1:]))
