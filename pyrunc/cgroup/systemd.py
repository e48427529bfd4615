"""The systemd driver (--systemd-cgroup): a transient scope for each container, then files as in v2.

One call makes it, StartTransientUnit; none is needed to end it, since systemd drops a scope whose last
process has gone. Everything that systemd has no word for is written to the cgroup's files afterwards.
"""

from __future__ import annotations

import posix
import time

from pyrunc.cgroup import files, unit_properties
from pyrunc.cgroup.dbus import Connection, Refusal
from pyrunc.cgroup.v2 import UnifiedCgroup, enable_controllers, own_path
from pyrunc.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.cgroup.base import Record, Resources

_PATH = "/org/freedesktop/systemd1"
_INTERFACE = "org.freedesktop.systemd1.Manager"
_SYSTEM = (("/run/systemd/private", False), ("/run/dbus/system_bus_socket", True))
_RUNNING = "/run/systemd/system"  # sd_booted(3)
# Properties that came later than others, and the files do as well: dropped where systemd doesn't know them.
_NEWER = ("AllowedCPUs", "AllowedMemoryNodes", "CPUQuotaPeriodUSec", "OOMPolicy", "CollectMode")
_OTHERS = (("hugepageLimits", "hugetlb"), ("rdma", "rdma"))
_TRIES = 5
_PATIENCE = 2.0  # seconds that systemd gets to see that a scope is empty


class SystemdCgroup(UnifiedCgroup):
    """``unit`` in ``slice``, of the system's manager or (``user``) of the caller's own."""

    __slots__ = ("id", "unit", "slice", "user", "annotations", "resources")
    driver = "systemd"

    def __init__(
        self, path: str, mountpoint: str, made: str, unit: str, slice: str, user: bool, id: str = ""
    ) -> None:
        super().__init__(path, mountpoint, made)
        self.id = id
        self.unit = unit
        self.slice = slice
        self.user = user
        self.annotations: dict[str, str] = {}
        self.resources: Resources = {}

    def record(self) -> Record:
        return {
            **super().record(),
            "driver": "systemd",
            "unit": self.unit,
            "slice": self.slice,
            "user": self.user,
        }

    def create(self, resources: Resources) -> None:
        """Nothing yet: a scope can't be without a process. ``adopt`` goes on."""
        from pyrunc.cgroup.limits_v2 import refuse_impossible

        refuse_impossible(resources)
        self.resources = resources

    def clones(self, resources: Resources) -> bool:
        return True

    def adopts(self) -> bool:
        return True

    def clone_fd(self, below: dict[str, str] | None = None, init: int = 0) -> int:
        return super().clone_fd(below, init) if init and not self._out_of_reach() else -1

    def attach(self, pid: int, below: dict[str, str], init: int) -> None:
        """A user can't move a process out of his login session: his manager can."""
        if not self._out_of_reach():
            return
        entrance = self._entrance_of(below, init).removeprefix(self.directory)
        manager = connect(self.user)
        try:
            self._call(manager, "AttachProcessesToUnit", "ssau", [self.unit, entrance, [pid]])
        except Refusal as refusal:
            raise _refused(self.unit, refusal) from None
        finally:
            manager.close()

    def _out_of_reach(self) -> bool:
        """Whether the nearest cgroup that is above ours and this one isn't ours to write."""
        if not self.user:
            return False
        common = self.mountpoint
        for mine, theirs in zip(own_path().split("/"), self.path.split("/"), strict=False):
            if mine != theirs:
                break
            common += "/" + mine if mine else ""
        return not posix.access(common + "/cgroup.procs", posix.W_OK, effective_ids=True)

    def adopt(self, pid: int) -> None:
        """Put init into a new scope, then set what systemd doesn't."""
        if self._is_slice():
            properties = unit_properties.of_slice(self.id, self.slice)
        else:
            properties = unit_properties.of_scope(self.id, self.slice, pid)
        properties += unit_properties.of_resources(self.resources, self.user)
        properties += unit_properties.of_annotations(self.annotations)
        manager = connect(self.user)
        try:
            self._start(manager, properties)
        finally:
            manager.close()
        if self._is_slice():
            files.put(self.directory + "/cgroup.procs", str(pid), "linux.cgroupsPath")
        real = own_path(f"/proc/{pid}/cgroup")
        if real != self.path:
            raise _failure(
                f"systemd has put the container into {real or '/'} instead of {self.path}", self.unit
            )
        self._enable_others()
        self._apply_devices_only_as_root(self.resources, update=False)

    def _is_slice(self) -> bool:
        return self.unit.endswith(".slice")

    def _enable_others(self) -> None:
        """Controllers that systemd doesn't know, for the limits that need them."""
        asked = {key.partition(".")[0] for key in self.resources.get("unified") or {}}
        asked |= {name for key, name in _OTHERS if self.resources.get(key)}
        asked -= {*files.DELEGATED, "cgroup"}
        directory = self.mountpoint
        for part in self.path[1:].split("/") if asked else ():
            enable_controllers(directory, asked)
            directory += "/" + part

    def _start(self, manager: Connection, properties: list[Any]) -> None:
        for attempt in range(_TRIES):
            try:
                unit = [self.unit, "fail", properties, []]
                job = self._call(manager, "StartTransientUnit", "ssa(sv)a(sa(sv))", unit)[0]
                break
            except Refusal as refusal:
                if drop_unknown(properties, refusal):
                    continue
                # The unit of an earlier container of that name: failed, or gone in a moment.
                if not refusal.name.endswith(".UnitExists") or attempt == _TRIES - 1:
                    raise _refused(self.unit, refusal) from None
                self._reset(manager)
        while True:
            _, path, _, result = manager.wait_signal("JobRemoved")
            if path == job:
                break
        if result != "done":
            self._reset(manager)
            raise _failure(f"systemd could not start {self.unit}: {result}", self.unit)

    def _reset(self, manager: Connection) -> None:
        try:
            self._call(manager, "ResetFailedUnit", "s", [self.unit])
        except Refusal:
            pass
        time.sleep(0.05)

    def _call(self, manager: Connection, member: str, signature: str, body: list[Any]) -> list[Any]:
        return manager.call(_PATH, _INTERFACE, member, signature, body)

    def _apply_devices_only_as_root(self, resources: Resources, update: bool) -> None:
        if self.user:
            resources = {key: value for key, value in resources.items() if key != "devices"}
        self._apply(resources, update)

    def update(self, resources: Resources) -> None:
        from pyrunc.cgroup.limits_v2 import refuse_impossible

        refuse_impossible(resources)
        properties = unit_properties.of_resources(resources, self.user)
        if properties:
            manager = connect(self.user)
            try:
                self._set(manager, properties)
            except Refusal as refusal:
                raise _refused(self.unit, refusal) from None
            finally:
                manager.close()
        self._apply_devices_only_as_root(resources, update=True)

    def _set(self, manager: Connection, properties: list[Any]) -> None:
        while True:
            try:
                self._call(manager, "SetUnitProperties", "sba(sv)", [self.unit, True, properties])
            except Refusal as refusal:
                if not drop_unknown(properties, refusal):
                    raise
            else:
                return

    def remove(self) -> None:
        """systemd takes an empty scope away by itself, a moment after its last process has ended.

        It must be left to it: without the directory it would never see that end, and keep the unit.
        """
        if not self._is_slice() and self._vanishes(_PATIENCE):
            return
        try:
            manager = connect(self.user)
            try:
                self._call(manager, "StopUnit", "ss", [self.unit, "replace"])
            finally:
                manager.close()
        except (Error, Refusal):
            pass  # no such unit, or no manager any more
        else:
            self._vanishes(_PATIENCE)
        if files.exists(self.directory):
            files.remove([(self.directory, self.directory)])

    def _vanishes(self, seconds: float) -> bool:
        pause, end = 0.001, time.monotonic() + seconds
        while files.exists(self.directory):
            if time.monotonic() > end:
                return False
            time.sleep(pause)
            pause = min(pause * 1.5, 0.02)
        return True


def plan(cgroups_path: str | None, id: str, mountpoint: str, user: bool) -> SystemdCgroup:
    """The scope that linux.cgroupsPath ("SLICE:PREFIX:NAME") names; nothing is made yet."""
    slice, unit = names(cgroups_path, id, user)
    base = _manager_path(user)
    # The name of a slice tells where it lies.
    path = base + (expand(unit) if unit.endswith(".slice") else f"{expand(slice)}/{unit}")
    return SystemdCgroup(path, mountpoint, mountpoint + path, unit, slice, user, id)


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
        raise _refused("ControlGroup", refusal) from None
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


def _failure(message: str, unit: str, hint: str = "") -> Error:
    return Error(
        message,
        code="systemd",
        step="systemd",
        path="linux.cgroupsPath",
        subject=unit,
        hint=hint or f"see journalctl -u {unit}",
    )


def _refused(unit: str, refusal: Refusal) -> Error:
    name = refusal.name.rpartition(".")[2]
    hints = {
        "UnitExists": f"another container or service has it; see systemctl status {unit}",
        "AccessDenied": "as a user, the user's own manager is asked: XDG_RUNTIME_DIR must be right",
        "PropertyReadOnly": "this systemd can't change that property",
    }
    return _failure(f"systemd refuses {unit}: {refusal.text} ({name})", unit, hints.get(name, ""))
