"""The plan: a flat list of small steps, and what the parent has to open for them.

Compiling is a pure function from configuration to plan: nothing in this package makes a system call.
``plan.h`` says what each step means; ``opcodes.py`` is generated from it.
"""

from __future__ import annotations

import _struct

from pyrunc.plan import opcodes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.seccomp import Filter

    Argument = int | str | bytes | list[str]

_U64 = 0xFFFFFFFFFFFFFFFF

# What the parent opens for a descriptor of the plan.
NO_FD = -1  # PLAN_NO_FD
FD_TREE, FD_TREE_RECURSIVE, FD_NAMESPACE, FD_CGROUP, FD_CONSOLE, FD_INIT, FD_ID_MAPS, FD_INIT_ROOT = range(8)


class Step:
    """One step: opcode, arguments as its signature says, and the JSON path that asked for it."""

    __slots__ = ("op", "arguments", "path")

    def __init__(self, op: int, arguments: tuple[Argument, ...], path: str) -> None:
        self.op = op
        self.arguments = arguments
        self.path = path

    @property
    def name(self) -> str:
        return opcodes.NAMES[self.op].lower()

    def __repr__(self) -> str:
        return f"{self.name}{self.arguments!r}"


class FdRequest:
    """A descriptor that the parent opens before init starts. ``value``: host path.

    ``id_maps``: the text of uid_map and gid_map for an id-mapped tree, and whether all below is mapped too.
    ``written``: a kernel parameter that is set in the namespace, which must not be the runtime's own then.
    """

    __slots__ = ("kind", "value", "path", "nstype", "id_maps", "written")

    def __init__(self, kind: int, value: str, path: str, nstype: int) -> None:
        self.kind = kind
        self.value = value
        self.path = path
        self.nstype = nstype
        self.id_maps: tuple[str, str, bool] | None = None
        self.written = ""


class Host:
    """What compiling must know of this host and of the command line; facts only."""

    __slots__ = (
        "id",
        "bundle",
        "rootfs",
        "cgroup_version",
        "cgroup_paths",
        "cgroup_joins",
        "cgroup_adopts",
        "unprivileged",
        "in_user_namespace",
        "seccomp",
        "no_pivot",
        "new_keyring",
        "mount_label",
    )

    def __init__(self, id: str, bundle: str, rootfs: str) -> None:
        self.id = id
        self.bundle = bundle
        self.rootfs = rootfs
        self.cgroup_version = "v1"
        # (name under /sys/fs/cgroup, the container's directory in it on the host)
        self.cgroup_paths: list[tuple[str, str]] = []
        self.cgroup_joins: list[str] = []  # files to write "0" to
        self.cgroup_adopts = False  # the parent puts init into its cgroup
        self.unprivileged = False  # what init may in its user namespace, the parent may not
        self.in_user_namespace = False  # root here isn't root of the machine
        self.seccomp: Filter | None = None
        self.no_pivot = False
        self.new_keyring = True
        self.mount_label = ""  # linux.mountLabel, where SELinux is enabled


class Plan:
    """Steps in order, descriptors that they need, and what the parent has to do beside them."""

    __slots__ = (
        "steps",
        "fds",
        "clone_flags",
        "user_namespace",
        "host_mounts",
        "warnings",
        "joins_cgroups",
        "cgroup_owner",
        "notifies",
        "late_limits",
    )

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.fds: list[FdRequest] = []
        self.clone_flags = 0
        self.user_namespace = False  # a new one: the parent writes the id maps
        self.host_mounts: list[str] = []  # made outside of any namespace of the container's own
        self.warnings: list[str] = []
        self.joins_cgroups = False  # by steps of its own; else it is made in its cgroup
        self.notifies = False  # an agent gets the seccomp listener
        self.late_limits: list[tuple[int, int, int, str]] = []  # resource, soft, hard, JSON path
        self.cgroup_owner = -1  # uid of the host that the container's cgroup is given to

    def add(self, op: int, *arguments: Argument, path: str = "") -> None:
        self.steps.append(Step(op, arguments, path))

    def fd(self, kind: int, value: str = "", path: str = "", nstype: int = 0) -> int:
        """Ask for a descriptor; its index is what a step's ``f`` argument holds."""
        self.fds.append(FdRequest(kind, value, path, nstype))
        return len(self.fds) - 1

    def encode(
        self,
        fds: list[int],
        control: int,
        listener: int = -1,
        watch: int = -1,
        preserve: int = 0,
        ignored: int = 0,
        trace: int = 0,
    ) -> bytes:
        """The bytes that pyrunc-init executes. ``fds``: one number for each request, in order.

        The other arguments are those of struct plan_header.
        """
        return _Encoder(self, fds).encode(control, listener, watch, preserve, ignored, trace)


_HEADER = _struct.Struct("<QIIIIiiiiQQ")
_STEP = _struct.Struct(f"<II{opcodes.ARGUMENTS}Q")


class _Encoder:
    __slots__ = ("plan", "fds", "blob", "size")

    def __init__(self, plan: Plan, fds: list[int]) -> None:
        self.plan = plan
        self.fds = fds
        start = _HEADER.size + _STEP.size * len(plan.steps) + 4 * len(fds)
        padding = -start % 8
        self.blob: list[bytes] = [bytes(padding)]
        self.size = start + padding

    def encode(
        self, control: int, listener: int, watch: int, preserve: int, ignored: int, trace: int
    ) -> bytes:
        steps = []
        for step in self.plan.steps:
            values = [0] * opcodes.ARGUMENTS
            for index, kind in enumerate(opcodes.SIGNATURES[step.op]):
                values[index] = self._argument(kind, step.arguments[index])
            steps.append(_STEP.pack(step.op, 0, *values))
        numbers = _struct.pack(f"<{len(self.fds)}i", *self.fds)
        header = _HEADER.pack(
            opcodes.MAGIC,
            opcodes.VERSION,
            self.size,
            len(steps),
            len(self.fds),
            control,
            listener,
            watch,
            preserve,
            ignored,
            trace,
        )
        return b"".join([header, *steps, numbers, *self.blob])

    def _argument(self, kind: str, value: Argument) -> int:
        if isinstance(value, int):
            return value & _U64
        if isinstance(value, str):
            return self._bytes(value.encode("utf-8", "surrogateescape"), b"\0")
        if isinstance(value, bytes):
            return self._bytes(value, b"\0" if kind == "s" else b"")
        references = [self._argument("s", text) for text in value]
        self._align()
        packed = _struct.pack(f"<{len(references)}Q", *references)
        return self._append(packed) << 32 | len(references)

    def _bytes(self, value: bytes, end: bytes) -> int:
        if not end:
            self._align()
        return self._append(value + end) << 32 | len(value)

    def _align(self) -> None:
        padding = -self.size % 8
        if padding:
            self._append(bytes(padding))

    def _append(self, value: bytes) -> int:
        offset = self.size
        self.blob.append(value)
        self.size += len(value)
        return offset
