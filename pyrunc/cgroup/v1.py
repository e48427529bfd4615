"""The v1 driver: one directory in each hierarchy."""

from __future__ import annotations

import errno
import time

from pyrunc.cgroup import base, files
from pyrunc.state_directory import write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.cgroup.base import Record, Resources
    from pyrunc.cgroup.oom import OomWatch


class Place:
    """A hierarchy; ``made`` is the topmost directory that create makes in it, or ""."""

    __slots__ = ("controllers", "mountpoint", "made")

    def __init__(self, controllers: tuple[str, ...], mountpoint: str, made: str) -> None:
        self.controllers = controllers
        self.mountpoint = mountpoint
        self.made = made


class LegacyCgroup(base.Cgroup):
    """A container's cgroup in the v1 hierarchies."""

    __slots__ = ("places",)
    version = "v1"

    def __init__(self, path: str, places: list[Place]) -> None:
        super().__init__(path)
        self.places = places

    @classmethod
    def plan(cls, path: str, mounts: list[tuple[tuple[str, ...], str]]) -> LegacyCgroup:
        """See what is there already; make nothing."""
        return cls(path, [Place(c, m, files.topmost_missing(m, path)) for c, m in mounts])

    def record(self) -> Record:
        return {
            "version": "v1",
            "path": self.path,
            "places": [[list(p.controllers), p.mountpoint, p.made] for p in self.places],
        }

    def paths(self) -> dict[str, str]:
        return {c: p.mountpoint + self.path for p in self.places for c in p.controllers}

    def mounts(self) -> list[tuple[tuple[str, ...], str, str]]:
        return [(p.controllers, p.mountpoint, self.path) for p in self.places]

    def create(self, resources: Resources) -> None:
        from pyrunc.cgroup import limits_v1

        limits_v1.refuse_impossible(resources, self.paths())
        fresh = True
        for index, place in enumerate(self.places):
            made = self._make(place)
            if place.made and not made:
                ours = [place for place in self.places[:index] if place.made]
                record = LegacyCgroup(self.path, ours).record() if ours else base.no_record(self.version)
                raise base.Taken(place.mountpoint + self.path, record)
            fresh = made and fresh
        limits_v1.apply(resources, self.paths(), self._made_directories(), fresh=fresh)

    def _make(self, place: Place) -> bool:
        """Make the directory; False when it was there."""
        leaf = place.mountpoint + self.path
        made = self.make_directory(place)
        if not (made or place.made):
            if "pids" in place.controllers or "devices" in place.controllers:
                base.refuse_processes(leaf)
            if "freezer" in place.controllers and self.frozen():
                raise base.unexpectedly_frozen(leaf)
        return made

    def make_directory(self, place: Place) -> bool:
        """One that processes can join; False when it was there."""
        from pyrunc.cgroup import limits_v1

        leaf = place.mountpoint + self.path
        made = bool(place.made) and files.make_directory(leaf, place.mountpoint)
        if "cpuset" in place.controllers:
            limits_v1.inherit_cpuset(place.mountpoint, leaf, made)
        return made

    def _made_directories(self) -> dict[str, list[str]]:
        """Controller to the directories that create made in its hierarchy, top first."""
        found = {}
        for place in self.places:
            directories = files.chain(place.made, place.mountpoint + self.path)
            for controller in place.controllers:
                found[controller] = directories
        return found

    def update(self, resources: Resources) -> None:
        from pyrunc.cgroup import limits_v1

        limits_v1.refuse_impossible(resources, self.paths())
        limits_v1.apply(resources, self.paths(), self._made_directories(), update=True)

    def join_files(self, below: dict[str, str] | None = None, init: int = 0) -> list[str]:
        # "tasks" moves one thread and takes no global lock, unlike cgroup.procs.
        if not below:
            return [f"{place.mountpoint}{self.path}/tasks" for place in self.places]
        found = [place.mountpoint + self.path + self._sub_path(place, below) for place in self.places]
        for directory in found:
            if not files.exists(directory):
                raise base.no_sub_cgroup(directory)
        return [directory + "/tasks" for directory in found]

    def refuse_occupied(self) -> None:
        if not all(place.made for place in self.places):
            super().refuse_occupied()

    def _sub_path(self, place: Place, below: dict[str, str]) -> str:
        known = self.paths()
        for controller in below:
            if controller and controller not in known and f"name={controller}" not in known:
                raise files.unavailable(controller, "--cgroup")
        for controller in place.controllers:
            name = controller.removeprefix("name=")
            if name in below:
                return below[name]
        return below.get("", "")

    def stats(self) -> dict[str, Any]:
        from pyrunc.cgroup import stats_v1

        return stats_v1.read(self.paths())

    def watch_oom(self) -> OomWatch:
        from pyrunc.cgroup import oom

        directory = self.paths().get("memory")
        return oom.LegacyWatch(directory) if directory else oom.OomWatch()

    def _main(self) -> str:
        """The directory whose processes count as the container's."""
        paths = self.paths()
        for controller in ("freezer", "devices", "pids"):
            if controller in paths:
                return paths[controller]
        return next(iter(paths.values()))

    def processes(self) -> list[int]:
        return files.tree_pids(self._main())

    def kill_all(self) -> None:
        main = self._main()
        if not files.tree_pids(main):
            return
        state = self.paths().get("freezer", "")

        def again() -> None:
            # Frozen, it cannot fork away from the list. Where freezing fails, repetition helps.
            if state:
                self._set(state, "FROZEN")
            base.kill_each(files.tree_pids(main))
            if state:
                self._set(state, "THAWED")

        base.wait_empty(main, again)

    def _set(self, directory: str, state: str) -> None:
        try:
            write_file(directory + "/freezer.state", state)
        except OSError as e:
            if e.errno not in (errno.ENOENT, errno.ENODEV):
                file = directory + "/freezer.state"
                raise files.refused(file, state, e.errno or 0, "") from None

    def freeze(self) -> None:
        directory = self.paths().get("freezer")
        if directory is None:
            raise files.failure(
                "the cgroup controller `freezer` is not available, so nothing can be paused",
                "freezer",
                hint="mount the v1 freezer hierarchy",
            )
        file = directory + "/freezer.state"
        for number in range(1, 1001):
            files.put(file, "FROZEN", "")
            if files.get(file).strip() == "FROZEN":
                return
            time.sleep(0.0001 if number < 20 else 0.002)
            if number % 50 == 0:
                # FREEZING can stick for as long as a task waits for a frozen one.
                files.put(file, "THAWED", "")
                time.sleep(0.001)
        files.put(file, "THAWED", "")
        raise files.failure(f"cannot freeze cgroup {directory}", file, hint="try again")

    def thaw(self) -> None:
        directory = self.paths().get("freezer")
        if directory is not None:
            files.put(directory + "/freezer.state", "THAWED", "")

    def freezer_file(self) -> str:
        directory = self.paths().get("freezer")
        return directory + "/freezer.state" if directory else ""

    def frozen(self) -> bool:
        file = self.freezer_file()
        try:
            return bool(file) and files.read(file).strip() != "THAWED"
        except OSError:
            return False

    def made_directories(self) -> list[tuple[str, str]]:
        return [(p.made, p.mountpoint + self.path) for p in self.places]

    def remove(self) -> None:
        files.remove(self.made_directories())
