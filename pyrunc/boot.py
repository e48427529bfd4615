"""The bundle of precompiled modules: one file to read instead of forty.

A runtime is started three times for every container, and finding and opening each module costs ten system
calls. ``build.py --bundle`` packs the modules of the hot path for the building interpreter; the launcher
executes this module's code out of it. Another interpreter, or a missing bundle, imports the files as usual.

    bundle = offset of the core (8 bytes), marshal(this code), marshal(core), marshal(code) …,
             marshal(index), offset of the index (8 bytes)

The core is what every verb needs, in the order of its imports: it is loaded at once, without the import
machinery. The rest is read when the first module of it is asked for.
"""

import marshal
import posix
import sys
from _frozen_importlib import ModuleSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType

    head: bytes  # the beginning of the bundle, with the whole core
    start: int  # where in it the core begins
    path: str
    site_dir: str


class Bundle:
    """A finder and loader for sys.meta_path. ``site_dir``: the directory that holds pyrunc."""

    def __init__(self, path: str, site_dir: str) -> None:
        self.path = path
        self.site_dir = site_dir
        self.data = memoryview(b"")
        # name → (offset of the code, file below site_dir, whether it is a package)
        self.index: dict[str, tuple[int, str, bool]] = {}

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if not name.startswith("pyrunc."):
            return None
        if not self.index:
            self._read()
        entry = self.index.get(name)
        if entry is None:
            return None
        _, file, is_package = entry
        origin = f"{self.site_dir}/{file}"
        spec = ModuleSpec(name, self, origin=origin, is_package=is_package)  # type: ignore[arg-type]
        spec.has_location = True
        if is_package:
            spec.submodule_search_locations = [origin.rpartition("/")[0]]
        return spec

    def names(self) -> list[str]:
        """The modules that are read when they are asked for."""
        if not self.index:
            self._read()
        return list(self.index)

    def _read(self) -> None:
        fd = posix.open(self.path, posix.O_RDONLY | posix.O_CLOEXEC)
        self.data = memoryview(posix.read(fd, posix.fstat(fd).st_size))
        posix.close(fd)
        start = int.from_bytes(self.data[-8:], "little")
        self.index = marshal.loads(self.data[start:])

    def create_module(self, spec: ModuleSpec) -> None:
        """The usual module object."""

    def exec_module(self, module: "ModuleType") -> None:
        offset = self.index[module.__name__][0]
        exec(marshal.loads(self.data[offset:]), module.__dict__)


def load_core(core: "list[tuple[str, str, bool, CodeType]]", site_dir: str) -> None:
    """Make and execute each module in turn: what one of them imports stands before it."""
    for name, file, is_package, code in core:
        module = sys.modules[name] = type(sys)(name)
        parent, _, leaf = name.rpartition(".")
        module.__file__ = f"{site_dir}/{file}"
        module.__package__ = name if is_package else parent
        if is_package:
            module.__path__ = [module.__file__.rpartition("/")[0]]
        setattr(sys.modules[parent], leaf, module)
        exec(code, module.__dict__)


if __name__ == "boot":
    sys.meta_path.insert(0, Bundle(path, site_dir))  # noqa: F821
    load_core(marshal.loads(memoryview(head)[start:]), site_dir)  # noqa: F821
