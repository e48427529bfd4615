"""Mount options: the table of config.md, as what the new mount API wants."""

from __future__ import annotations

RDONLY, NOSUID, NODEV, NOEXEC = 0x01, 0x02, 0x04, 0x08
ATIME, NOATIME, STRICTATIME = 0x70, 0x10, 0x20
NODIRATIME, IDMAP, NOSYMFOLLOW = 0x80, 0x00100000, 0x00200000

MS_REC = 0x4000
MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED = 1 << 17, 1 << 18, 1 << 19, 1 << 20

# option → (attributes to set, attributes to clear) of mount_setattr(2).
# relatime is zero in the field of atime: it only clears.
ATTRIBUTES: dict[str, tuple[int, int]] = {
    "ro": (RDONLY, 0),
    "rw": (0, RDONLY),
    "nosuid": (NOSUID, 0),
    "suid": (0, NOSUID),
    "nodev": (NODEV, 0),
    "dev": (0, NODEV),
    "noexec": (NOEXEC, 0),
    "exec": (0, NOEXEC),
    "noatime": (NOATIME, ATIME),
    "atime": (0, ATIME),
    "relatime": (0, ATIME),
    "norelatime": (0, 0),
    "strictatime": (STRICTATIME, ATIME),
    "nostrictatime": (0, ATIME),
    "nodiratime": (NODIRATIME, 0),
    "diratime": (0, NODIRATIME),
    "nosymfollow": (NOSYMFOLLOW, 0),
    "symfollow": (0, NOSYMFOLLOW),
}
RECURSIVE: dict[str, tuple[int, int]] = {"r" + name: value for name, value in ATTRIBUTES.items()}

PROPAGATION: dict[str, int] = {
    "private": MS_PRIVATE,
    "rprivate": MS_PRIVATE | MS_REC,
    "slave": MS_SLAVE,
    "rslave": MS_SLAVE | MS_REC,
    "shared": MS_SHARED,
    "rshared": MS_SHARED | MS_REC,
    "unbindable": MS_UNBINDABLE,
    "runbindable": MS_UNBINDABLE | MS_REC,
}

# Flags of the superblock: option → (parameter of fsconfig(2), whether it sets or takes it back).
SUPERBLOCK: dict[str, tuple[str, bool]] = {
    "sync": ("sync", True),
    "async": ("sync", False),
    "dirsync": ("dirsync", True),
    "lazytime": ("lazytime", True),
    "nolazytime": ("lazytime", False),
    "mand": ("mand", True),
    "nomand": ("mand", False),
}
# Flags that only mount(2) has: option → (MS_*, whether it sets or takes it back).
MOUNT_FLAGS: dict[str, tuple[int, bool]] = {
    "iversion": (1 << 23, True),
    "noiversion": (1 << 23, False),
    "silent": (1 << 15, True),
    "loud": (1 << 15, False),
}
BINDS = ("bind", "rbind")
ID_MAPS = ("idmap", "ridmap")
# Options that say what to do, and no property of the mount; "defaults" and "" say nothing.
ACTIONS = ("remount", "tmpcopyup")
NOTHING = ("defaults", "")

# Every option that is not handed on to the file system.
KNOWN = (
    *(*ATTRIBUTES, *RECURSIVE, *PROPAGATION, *SUPERBLOCK, *MOUNT_FLAGS),
    *(*BINDS, *ID_MAPS, *ACTIONS, "defaults"),
)


def is_bind(options: list[str]) -> bool:
    """Whether the options of a mount make it a bind."""
    return any(name in options for name in BINDS)


def is_parameter(option: str) -> bool:
    """Whether it is a NAME=VALUE that only a file system can know, such as mode=755. ro=1 is not."""
    name, equals, _ = option.partition("=")
    return bool(name and equals) and name not in KNOWN
