"""A systemd scope on v1, for --systemd-cgroup: systemd has a cgroup in the hierarchies that it knows, and we
make those of the same path in the others.
"""

from __future__ import annotations

from pyrunc.cgroup import files, unit_properties
from pyrunc.cgroup.unit import Unit
from pyrunc.cgroup.v1 import LegacyCgroup, Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cgroup.base import Record, Resources

_KNOWN = frozenset(("cpu", "cpuacct", "blkio", "memory", "devices", "pids", "name=systemd"))


class LegacyScope(LegacyCgroup):
    """``id`` and ``annotations`` are for the unit's properties, ``owner`` for the mark of what is made."""

    __slots__ = ("unit", "id", "annotations", "resources", "owner")

    def __init__(
        self,
        path: str,
        places: list[Place],
        unit: Unit,
        id: str = "",
        annotations: dict[str, str] | None = None,
    ) -> None:
        super().__init__(path, places)
        self.unit = unit
        self.id = id
        self.annotations = annotations or {}
        self.resources: Resources = {}
        self.owner = ""

    @classmethod
    def of_unit(
        cls,
        unit: Unit,
        mounts: list[tuple[tuple[str, ...], str]],
        id: str,
        annotations: dict[str, str],
    ) -> LegacyScope:
        """See what is there already; make nothing."""
        path = unit.path()
        places = []
        for controllers, mountpoint in mounts:
            made = files.topmost_missing(mountpoint, path)
            if not _KNOWN.isdisjoint(controllers):
                made = made and mountpoint + path  # the slices above are systemd's
            places.append(Place(controllers, mountpoint, made))
        return cls(path, places, unit, id, annotations)

    def record(self) -> Record:
        return {**super().record(), **self.unit.record()}

    def create(self, resources: Resources) -> None:
        """Nothing yet: a scope can't be without a process. ``adopt`` goes on."""
        from pyrunc.cgroup.limits_v1 import refuse_impossible

        refuse_impossible(resources, self.paths())
        self.resources = resources

    def mark(self, owner: str) -> None:
        self.owner = owner  # until there is something to be marked

    def adopts(self) -> bool:
        return True

    def adopt(self, pid: int) -> None:
        """Put init into a new scope, then into cgroups of the same path elsewhere, with their limits."""
        from pyrunc.cgroup import limits_v1

        properties = unit_properties.of_unit(self.id, self.unit, pid)
        properties += unit_properties.of_resources_v1(self.resources)
        self.unit.start(properties + unit_properties.of_annotations(self.annotations))
        for place in self.places:
            self.make_directory(place)
        super().mark(self.owner)
        limits_v1.apply(self.resources, self.paths(), self._made_directories())
        for file in self.join_files():
            files.put(file, str(pid), "linux.cgroupsPath")

    def update(self, resources: Resources) -> None:
        self.unit.set(unit_properties.of_resources_v1(resources, update=True))
        super().update(resources)

    def remove(self) -> None:
        # systemd looks into its own hierarchy for the end of the scope, and takes its cgroups away then.
        self.unit.end(self.paths().get("name=systemd", self._main()))
        super().remove()
