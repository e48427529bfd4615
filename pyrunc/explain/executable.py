"""Why a program can't be executed: a look at its file inside the container's root.

Everything is opened below a descriptor of that root, so that nothing on the way can lead to the host.
"""

from __future__ import annotations

import errno
import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_S_IFMT, _S_IFREG, _S_IFDIR, _S_IFLNK = 0o170000, 0o100000, 0o040000, 0o120000
_ST_NOEXEC = 8  # statvfs(3)
_NOT_FOLLOWED = posix.O_PATH | posix.O_NOFOLLOW
_HEAD = 4096  # bytes of the file; the kernel itself reads 256
_USUAL = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")

_LINK = "install it, or correct the link"
_WORDS = "process.args wants each word as an element of its own: nothing is split at spaces"

# e_machine of elf(5), and what each machine of uname(2) executes
_MACHINES = {
    3: "i386", 8: "mips", 20: "ppc", 21: "ppc64", 22: "s390x", 40: "arm", 62: "x86_64",
    183: "aarch64", 243: "riscv64", 258: "loongarch64",
}  # fmt: skip
_EXECUTES = {"x86_64": (62, 3), "aarch64": (183, 40)}
_PLATFORMS = {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}


class Root:
    """A container's root, looked at by descriptor: openat2(2) with RESOLVE_IN_ROOT."""

    __slots__ = ("fd", "machine", "_lib")

    def __init__(self, fd: int, machine: str = "") -> None:
        from pyrunc._native.load import clone

        self.fd = fd
        self.machine = machine or posix.uname().machine
        self._lib: Any = clone().lib

    def open(self, path: str, flags: int) -> int:
        """A descriptor, or a negative errno."""
        found: int = self._lib.pyrunc_open_in_root(self.fd, path.encode("utf-8", "surrogateescape"), flags)
        return found

    def stat(self, path: str, follow: bool = True) -> posix.stat_result | int:
        """What is at a path, or the errno."""
        fd = self.open(path, posix.O_PATH if follow else _NOT_FOLLOWED)
        if fd < 0:
            return -fd
        try:
            return posix.fstat(fd)
        except OSError as error:  # a security module may hide it
            return error.errno or errno.EACCES
        finally:
            posix.close(fd)

    def target(self, path: str) -> str:
        """Where the link at a path leads; "" if it is none."""
        fd = self.open(path, _NOT_FOLLOWED)
        if fd < 0:
            return ""
        try:
            return posix.readlink("", dir_fd=fd)
        except OSError:
            return ""
        finally:
            posix.close(fd)

    def head(self, path: str) -> tuple[bytes, bool] | None:
        """The first bytes of a regular file, and whether its mount is noexec; None if it can't be read."""
        status = self.stat(path)
        # A pipe or a device must not be opened to be read: that can block, or do something.
        if isinstance(status, int) or status.st_mode & _S_IFMT != _S_IFREG:
            return None
        fd = self.open(path, posix.O_RDONLY | posix.O_NONBLOCK)
        if fd < 0:
            return None
        try:
            return posix.read(fd, _HEAD), bool(posix.fstatvfs(fd).f_flag & _ST_NOEXEC)
        except OSError:
            return None
        finally:
            posix.close(fd)


def look(root: Root, path: str, number: int) -> str:
    """The cause and the remedy for the errno of looking up or executing ``path``; "" if none is seen."""
    missing = _missing(root, path)
    if missing:
        return missing
    status = root.stat(path)
    if isinstance(status, int):
        hidden = f"a security module hides {path} from pyrunc: label the root filesystem for containers"
        return hidden if status == errno.EACCES else ""
    if status.st_mode & _S_IFMT == _S_IFDIR:
        return f"{path} is a directory: name the program in it"
    if status.st_mode & _S_IFMT != _S_IFREG:
        return f"{path} is not a regular file"
    found = root.head(path)
    head, noexec = found or (b"", False)
    if number in (errno.EACCES, errno.EPERM):
        if noexec:
            return f"{path} is on a mount with the option noexec: take the option away, or put it elsewhere"
        if not status.st_mode & 0o111:
            return f"{path} has no x bit (mode {status.st_mode & 0o7777:04o}): chmod +x it in the image"
        if number == errno.EACCES and not head.startswith(b"#!"):
            return (
                f"mode {status.st_mode & 0o7777:04o} of {status.st_uid}:{status.st_gid}, or a directory "
                f"above "
                "it, does not let process.user execute it"
            )
    if head.startswith(b"#!"):
        return _script(root, head, number)
    if head.startswith(b"\x7fELF"):
        return _elf(root, head, number)
    if number == errno.ENOEXEC:
        return _text(head)
    return ""


def elsewhere(root: Root, name: str, path: str) -> str:
    """For a name that is in no directory of ``path`` (PATH): where it is, or what to look at."""
    searched = path.split(":")
    for directory in _USUAL:
        if directory not in searched and not isinstance(root.stat(f"{directory}/{name}"), int):
            return f"it is in {directory}, which PATH ({path}) does not name: add it in process.env"
    for directory in searched:
        target = root.target(f"{directory}/{name}")
        if target:
            return f"{directory}/{name} is a link to {target}, which does not exist in the container: {_LINK}"
    if not path:
        return "PATH is empty: set it in process.env, or give a path with a slash"
    if " " in name:
        return _WORDS
    return f"PATH is {path}: install the program in the image, or correct process.args[0] or PATH"


def _missing(root: Root, path: str) -> str:
    """What is missing on the way to a path; "" if it is there."""
    status = root.stat(path)
    if not isinstance(status, int):
        return ""
    target = root.target(path)
    if target and status == errno.ENOENT:
        return f"{path} is a link to {target}, which does not exist in the container: {_LINK}"
    if status == errno.ELOOP:
        return f"the links on the way to {path} lead in a circle: correct them in the image"
    if status not in (errno.ENOENT, errno.ENOTDIR):
        return ""
    above = path.rstrip("/").rpartition("/")[0]
    while above:
        seen = root.stat(above)
        if not isinstance(seen, int):
            if seen.st_mode & _S_IFMT != _S_IFDIR:
                return f"{above} is a file, not a directory: correct the path"
            break
        if root.target(above):
            return (
                f"{above} is a link to {root.target(above)}, which does not exist in the container: {_LINK}"
            )
        above = above.rpartition("/")[0]
    if " " in path:
        return _WORDS
    return f"the container's root has {above or '/'}, but not {path}: is the image complete, the path right?"


def _script(root: Root, head: bytes, number: int) -> str:
    line = head[2:].partition(b"\n")[0]
    words = line.split()
    if not words:
        return "the script's first line has #! without an interpreter"
    interpreter = words[0].decode("utf-8", "replace")
    if line.endswith(b"\r"):
        return (
            f"the script's first line ends in CRLF, so that its interpreter is {interpreter!r} with a "
            f"carriage "
            "return: convert it to Unix line endings (dos2unix)"
        )
    if not interpreter.startswith("/"):
        return f"the script's interpreter {interpreter} is not an absolute path"
    status = root.stat(interpreter)
    if isinstance(status, int):
        link = root.target(interpreter)
        leads = f" (a link to {link})" if link else ""
        return (
            f"the script's interpreter {interpreter}{leads} does not exist in the container: install it, or "
            "change the script's first line"
        )
    if number in (errno.EACCES, errno.EPERM):
        return f"the script's interpreter {interpreter} must not be executed: look at its x bit and its mount"
    inner = root.head(interpreter)
    if inner and inner[0].startswith(b"\x7fELF"):
        reason = _elf(root, inner[0], number)
        return f"the script's interpreter {interpreter}: {reason}" if reason else ""
    return f"the script's interpreter {interpreter} can't be executed"


def _elf(root: Root, head: bytes, number: int) -> str:
    order: Any = "little" if head[5:6] == b"\x01" else "big"
    if len(head) < 52:
        return "the ELF file is cut off after its first bytes: copy it again"
    machine = int.from_bytes(head[18:20], order)
    if machine not in _EXECUTES.get(root.machine, (machine,)):
        name = _MACHINES.get(machine, f"machine {machine}")
        platform = _PLATFORMS.get(root.machine, root.machine)
        return (
            f"the program is for {name}, this host is {root.machine}: take the image for {platform}, or "
            f"install an emulator for {name} (binfmt_misc)"
        )
    loader = _loader(head, order)
    if loader and isinstance(root.stat(loader), int):
        return (
            f"the program's loader {loader} does not exist in the container: it was linked for another C "
            "library, or the image lacks it; link it statically, or take a matching image"
        )
    if number == errno.ENOEXEC:
        return "the ELF file is no executable, or is damaged"
    return ""


def _loader(head: bytes, order: Any) -> str:
    """The path in PT_INTERP of elf(5); "" for a static program."""
    wide = head[4] == 2

    def value(at: int, size: int) -> int:
        return int.from_bytes(head[at : at + size], order)

    table = value(32, 8) if wide else value(28, 4)
    size, count = (value(54, 2), value(56, 2)) if wide else (value(42, 2), value(44, 2))
    for at in range(table, table + size * min(count, 64), size or 1):
        if value(at, 4) == 3:  # PT_INTERP
            offset, length = (
                (value(at + 8, 8), value(at + 32, 8)) if wide else (value(at + 4, 4), value(at + 16, 4))
            )
            return head[offset : offset + length].partition(b"\0")[0].decode("utf-8", "replace")
    return ""


def _text(head: bytes) -> str:
    if not head:
        return "the file is empty: give it a program, or a script that begins with #!"
    if b"\0" not in head:
        return (
            "a text whose first line has no #! with an interpreter: begin it with #!/bin/sh, or start it as "
            "an argument of its interpreter"
        )
    return "neither an ELF program nor a script; is the file for another system?"
