"""The bundle of precompiled modules: one file to read instead of forty.

A runtime is started three times for every container, and finding and opening each module costs ten system
calls. ``build.py --bundle`` packs the modules of the hot path for the building interpreter; the launcher
executes this module's code out of it. Another interpreter, or a missing bundle, imports the files as usual.

    bundle = marshal(this module's code), marshal(code) …, marshal(index), offset of the index (8 bytes)
"""

import marshal
import sys
from _frozen_importlib import ModuleSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    bundle: bytes
    site_dir: str


class Bundle:
    """A finder and loader for sys.meta_path. ``site_dir``: the directory that holds pyrunc."""

    def __init__(self, data: bytes, site_dir: str) -> None:
        start = int.from_bytes(data[-8:], "little")
        self.data = memoryview(data)
        self.site_dir = site_dir
        # name → (offset of the code, file below site_dir, whether it is a package)
        self.index: dict[str, tuple[int, str, bool]] = marshal.loads(self.data[start:])

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
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

    def create_module(self, spec: ModuleSpec) -> None:
        """The usual module object."""

    def exec_module(self, module: "ModuleType") -> None:
        offset = self.index[module.__name__][0]
        exec(marshal.loads(self.data[offset:]), module.__dict__)


if __name__ == "boot":
    sys.meta_path.insert(0, Bundle(bundle, site_dir))  # noqa: F821
