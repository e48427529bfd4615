"""A systemd scope on v2, for --systemd-cgroup: what systemd has no word for goes to the cgroup's files."""

from __future__ import annotations

import posix

from pyrunc.cgroup import files, unit_properties
from pyrunc.cgroup.unit import Unit, failure
from pyrunc.cgroup.v2 import UnifiedCgroup, enable_controllers, own_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cgroup.base import Record, Resources

_OTHERS = (("hugepageLimits", "hugetlb"), ("rdma", "rdma"))


class UnifiedScope(UnifiedCgroup):
    """``id`` and ``annotations`` are for the unit's properties."""

    __slots__ = ("unit", "id", "annotations", "resources")

    def __init__(
        self, path: str, mountpoint: str, unit: Unit, id: str = "", annotations: dict[str, str] | None = None
    ) -> None:
        super().__init__(path, mountpoint, mountpoint + path)
        self.unit = unit
        self.id = id
        self.annotations = annotations or {}
        self.resources: Resources = {}

    def record(self) -> Record:
        return {**super().record(), **self.unit.record()}

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
        if self._out_of_reach():
            self.unit.attach(pid, self._entrance_of(below, init).removeprefix(self.directory))

    def _out_of_reach(self) -> bool:
        """Whether the nearest cgroup that is above ours and this one isn't ours to write."""
        if not self.unit.user:
            return False
        common = self.mountpoint
        for mine, theirs in zip(own_path().split("/"), self.path.split("/"), strict=False):
            if mine != theirs:
                break
            common += "/" + mine if mine else ""
        return not posix.access(common + "/cgroup.procs", posix.W_OK, effective_ids=True)

    def adopt(self, pid: int) -> None:
        """Put init into a new scope, then set what systemd doesn't."""
        properties = unit_properties.of_unit(self.id, self.unit, pid)
        properties += unit_properties.of_resources(self.resources, self.unit.user)
        self.unit.start(properties + unit_properties.of_annotations(self.annotations))
        if self.unit.is_slice:
            files.put(self.directory + "/cgroup.procs", str(pid), "linux.cgroupsPath")
        real = own_path(f"/proc/{pid}/cgroup")
        if real != self.path:
            message = f"systemd has put the container into {real or '/'} instead of {self.path}"
            raise failure(message, self.unit.name)
        self._enable_others()
        self._apply_devices_only_as_root(self.resources, update=False)

    def _enable_others(self) -> None:
        """Controllers that systemd doesn't know, for the limits that need them."""
        asked = {key.partition(".")[0] for key in self.resources.get("unified") or {}}
        asked |= {name for key, name in _OTHERS if self.resources.get(key)}
        asked -= {*files.DELEGATED, "cgroup"}
        directory = self.mountpoint
        for part in self.path[1:].split("/") if asked else ():
            enable_controllers(directory, asked)
            directory += "/" + part

    def _apply_devices_only_as_root(self, resources: Resources, update: bool) -> None:
        if self.unit.user:
            resources = {key: value for key, value in resources.items() if key != "devices"}
        self._apply(resources, update)

    def update(self, resources: Resources) -> None:
        from pyrunc.cgroup.limits_v2 import refuse_impossible

        refuse_impossible(resources)
        self.unit.set(unit_properties.of_resources(resources, self.unit.user, update=True))
        self._apply_devices_only_as_root(resources, update=True)

    def remove(self) -> None:
        self.unit.end(self.directory)
        if files.exists(self.directory):
            files.remove([(self.directory, self.directory)])
