"""A unit of systemd's, from its name to its end: what the drivers ask the manager for.

One call makes it, StartTransientUnit; none is needed to end it, since systemd drops a scope whose last
process has gone.
"""

from __future__ import annotations

import posix
import time

from pyrunc.cgroup import files
from pyrunc.cgroup.dbus import Connection, Refusal
from pyrunc.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PATH = "/org/freedesktop/systemd1"
_INTERFACE = "org.freedesktop.systemd1.Manager"
_SYSTEM = (("/run/systemd/private", False), ("/run/dbus/system_bus_socket", True))
_RUNNING = "/run/systemd/system"  # sd_booted(3)
# Properties that came later than others, and the files do as well: dropped where systemd doesn't know them.
_NEWER = ("AllowedCPUs", "AllowedMemoryNodes", "CPUQuotaPeriodUSec", "OOMPolicy", "CollectMode")
_TRIES = 5
_PATIENCE = 2.0  # seconds that systemd gets to see that a scope is empty


class Unit:
    """``name`` in ``slice``, of the system's manager or (``user``) of the caller's own."""

    __slots__ = ("name", "slice", "user")

    def __init__(self, name: str, slice: str, user: bool) -> None:
        self.name = name
        self.slice = slice
        self.user = user

    def record(self) -> dict[str, object]:
        return {"driver": "systemd", "unit": self.name, "slice": self.slice, "user": self.user}

    @property
    def is_slice(self) -> bool:
        return self.name.endswith(".slice")

    def path(self) -> str:
        """Its cgroup, from the root of the hierarchy. The name of a slice tells where it lies."""
        below = expand(self.name) if self.is_slice else f"{expand(self.slice)}/{self.name}"
        return _manager_path(self.user) + below

    def start(self, properties: list[Any]) -> None:
        """Make it, and wait until it is there; raises Error."""
        manager = connect(self.user)
        try:
            job = self._begin(manager, properties)
            while True:
                _, path, _, result = manager.wait_signal("JobRemoved")
                if path == job:
                    break
            if result != "done":
                self._reset(manager)
                raise failure(f"systemd could not start {self.name}: {result}", self.name)
        finally:
            manager.close()

    def _begin(self, manager: Connection, properties: list[Any]) -> object:
        for attempt in range(_TRIES):
            try:
                body = [self.name, "fail", properties, []]
                return _call(manager, "StartTransientUnit", "ssa(sv)a(sa(sv))", body)[0]
            except Refusal as refusal:
                if drop_unknown(properties, refusal):
                    continue
                # The unit of an earlier container of that name: failed, or gone in a moment.
                if not refusal.name.endswith(".UnitExists") or attempt == _TRIES - 1:
                    raise refused(self.name, refusal) from None
                self._reset(manager)
        raise AssertionError("the last attempt raises")

    def _reset(self, manager: Connection) -> None:
        try:
            _call(manager, "ResetFailedUnit", "s", [self.name])
        except Refusal:
            pass
        time.sleep(0.05)

    def set(self, properties: list[Any]) -> None:
        """Change properties, until the unit ends; raises Error."""
        while properties:
            try:
                self._ask("SetUnitProperties", "sba(sv)", [self.name, True, properties])
            except Refusal as refusal:
                if not drop_unknown(properties, refusal):
                    raise refused(self.name, refusal) from None
            else:
                return

    def attach(self, pid: int, below: str) -> None:
        """Move a process into the cgroup ``below`` ("/a", or "") the unit's."""
        try:
            self._ask("AttachProcessesToUnit", "ssau", [self.name, below, [pid]])
        except Refusal as refusal:
            raise refused(self.name, refusal) from None

    def end(self, directory: str) -> None:
        """After its last process. systemd takes an empty scope away by itself, a moment later.

        It must be left to it: without its cgroup, ``directory``, it would never see that end,
        and keep the unit.
        """
        if not self.is_slice and _vanishes(directory):
            return
        try:
            self._ask("StopUnit", "ss", [self.name, "replace"])
        except (Error, Refusal):
            return  # no such unit, or no manager any more
        _vanishes(directory)

    def _ask(self, member: str, signature: str, body: list[Any]) -> None:
        manager = connect(self.user)
        try:
            _call(manager, member, signature, body)
        finally:
            manager.close()


def _vanishes(directory: str) -> bool:
    pause, end = 0.001, time.monotonic() + _PATIENCE
    while files.exists(directory):
        if time.monotonic() > end:
            return False
        time.sleep(pause)
        pause = min(pause * 1.5, 0.02)
    return True


def _call(manager: Connection, member: str, signature: str, body: list[Any]) -> list[Any]:
    return manager.call(_PATH, _INTERFACE, member, signature, body)


def names(cgroups_path: str | None, id: str, user: bool) -> tuple[str, str]:
    """(slice, unit) of a linux.cgroupsPath for this driver; raises Error."""
    slice, prefix, name = "", "pyrunc", id
    if cgroups_path:
        parts = cgroups_path.split(":")
        if len(parts) != 3 or not parts[2] or "/" in cgroups_path:
            raise files.failure(
                f'cgroupsPath "{cgroups_path}" is not of the form SLICE:PREFIX:NAME',
                cgroups_path,
                path="linux.cgroupsPath",
                hint="that is the form with --systemd-cgroup; without it, it is a path",
            )
        slice, prefix, name = parts
    slice = slice or ("user.slice" if user else "system.slice")
    if name.endswith(".slice"):
        return slice, name
    return slice, f"{prefix}-{name}.scope"  # as everybody has it, with an empty prefix, too


def expand(slice: str) -> str:
    """The path of a slice: a-b.slice lies in a.slice (systemd.slice(5)). "" for the root, -.slice."""
    if slice == "-.slice":
        return ""
    stem = slice.removesuffix(".slice")
    parts = stem.split("-")
    if stem == slice or "/" in slice or not all(parts):
        raise files.failure(
            f'"{slice}" is not the name of a slice',
            slice,
            path="linux.cgroupsPath",
            hint="names of slices are like a.slice and a-b.slice: systemd.slice(5)",
        )
    return "".join(f"/{'-'.join(parts[: count + 1])}.slice" for count in range(len(parts)))


def is_ours() -> bool:
    """For root of a user namespace: whether the system's manager is of that root, as the kernel shows it."""
    try:
        return posix.stat(_RUNNING).st_uid == 0
    except OSError:
        return False


def connect(user: bool) -> Connection:
    """The manager: on its own socket, which spares the bus; else on the bus."""
    failed: OSError | None = None
    for address, bus in _user_addresses() if user else _SYSTEM:
        try:
            connection = Connection(address, bus)
        except OSError as error:
            failed = error
            continue
        if bus:
            # Only whoever subscribes hears of jobs on a bus.
            match = "type='signal',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'"
            connection.add_match(match)
            connection.call(_PATH, _INTERFACE, "Subscribe", "", [])
        return connection
    raise Error(
        f"the {'user' if user else 'system'} manager of systemd can't be reached",
        code="systemd",
        step="systemd",
        path="linux.cgroupsPath",
        syscall="connect",
        errno=failed.errno or 0 if failed else 0,
        subject="/run/systemd/private",
        hint="log in with a session of systemd's (XDG_RUNTIME_DIR and user@UID.service), "
        "or leave --systemd-cgroup out"
        if user
        else "this host doesn't run systemd: leave --systemd-cgroup out",
    )


def _user_addresses() -> list[tuple[str, bool]]:
    runtime = posix.environ.get(b"XDG_RUNTIME_DIR", b"").decode() or f"/run/user/{posix.geteuid()}"
    found = [(f"{runtime}/systemd/private", False)]
    for address in posix.environ.get(b"DBUS_SESSION_BUS_ADDRESS", b"").decode().split(";"):
        kind, _, rest = address.partition(":")
        values = dict(item.partition("=")[::2] for item in rest.split(","))
        if kind == "unix" and values.get("path"):
            found.append((values["path"], True))
        elif kind == "unix" and values.get("abstract"):
            found.append(("@" + values["abstract"], True))
    return [*found, (f"{runtime}/bus", True)]


def _manager_path(user: bool) -> str:
    """The cgroup of the manager; all of its units are below it."""
    if not user:
        return ""
    manager = connect(user)
    try:
        answer = manager.call(
            _PATH, "org.freedesktop.DBus.Properties", "Get", "ss", [_INTERFACE, "ControlGroup"]
        )
    except Refusal as refusal:
        raise refused("ControlGroup", refusal) from None
    finally:
        manager.close()
    return str(answer[0])


def drop_unknown(properties: list[Any], refusal: Refusal) -> bool:
    """Take the property out that an older systemd doesn't know, if the container can do without it."""
    if not refusal.name.endswith(".PropertyReadOnly"):
        return False
    words = refusal.text.replace(",", " ").split()
    unknown = [each for each in properties if each[0] in _NEWER and each[0] in words]
    for each in unknown:
        properties.remove(each)
    return bool(unknown)


def failure(message: str, unit: str, hint: str = "") -> Error:
    return Error(
        message,
        code="systemd",
        step="systemd",
        path="linux.cgroupsPath",
        subject=unit,
        hint=hint or f"see journalctl -u {unit}",
    )


def refused(unit: str, refusal: Refusal) -> Error:
    name = refusal.name.rpartition(".")[2]
    hints = {
        "UnitExists": f"another container or service has it; see systemctl status {unit}",
        "AccessDenied": "as a user, the user's own manager is asked: XDG_RUNTIME_DIR must be right",
        "PropertyReadOnly": "it can set no such property: correct org.systemd.property.* in annotations",
    }
    return failure(f"systemd refuses {unit}: {refusal.text} ({name})", unit, hints.get(name, ""))
