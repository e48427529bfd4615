"""Seccomp filters: the BPF program of a profile, from the cache or from libseccomp.

A cache hit is on the path of every ``create``; compiling (``_libseccomp``) is a slow leaf.
"""

from __future__ import annotations

import posix
import sys

try:
    from _sha256 import sha256  # type: ignore[import-not-found,unused-ignore]  # 3.11
except ImportError:
    try:
        from _sha2 import sha256  # type: ignore[import-not-found,unused-ignore]  # 3.12 and later
    except ImportError:
        from hashlib import sha256

from pyrunc.errors import Error

# SECCOMP_FILTER_FLAG_* of <linux/seccomp.h>
TSYNC = 1
LOG = 2
SPEC_ALLOW = 4
NEW_LISTENER = 8
TSYNC_ESRCH = 16
WAIT_KILLABLE_RECV = 32

_MAGIC = b"pyrunc-seccomp-1"
_HEADER = len(_MAGIC) + 4 + 4 + 4 + 32  # magic, flags, notify, length, checksum
_MAX_BPF = 4096 * 8  # BPF_MAXINSNS instructions of 8 bytes
_S_IFMT, _S_IFREG = 0o170000, 0o100000

# What of a profile decides its program. Where the listener is does not, only whether there is one.
_KEYS = ("defaultAction", "defaultErrnoRet", "architectures", "flags", "syscalls")


class Filter:
    """A program for seccomp(2).

    bpf: array of struct sock_filter, in the machine's byte order.
    flags: SECCOMP_FILTER_FLAG_*; NEW_LISTENER is among them if notify.
    notify: some rule is SCMP_ACT_NOTIFY, so the descriptor that seccomp(2) gives must be sent on.
    """

    __slots__ = ("bpf", "flags", "notify")

    def __init__(self, bpf: bytes, flags: int, notify: bool) -> None:
        self.bpf = bpf
        self.flags = flags
        self.notify = notify


def load_or_compile(seccomp: dict[str, object], cache_dir: str) -> Filter:
    """The filter of ``linux.seccomp``; Error (step "seccomp") if the profile cannot be had.

    cache_dir is made if missing. A cache that is not ours alone is neither read nor written.
    """
    library, version = locate()
    key = _key(seccomp, version)
    directory = _open_cache(cache_dir)
    try:
        if directory >= 0:
            found = _read(directory, key)
            if found is not None:
                return found
        from pyrunc import _libseccomp

        compiled = _libseccomp.compile_profile(seccomp, library)
        if directory >= 0:
            _write(directory, key, compiled)
        return compiled
    finally:
        if directory >= 0:
            posix.close(directory)


def locate() -> tuple[str, str]:
    """File name of libseccomp and a text that changes with the file; the library is not loaded.

    The bare soname and "" if it is in none of the usual places.
    """
    multiarch = getattr(sys.implementation, "_multiarch", "")
    for place in (f"/usr/lib/{multiarch}", f"/lib/{multiarch}", "/usr/lib64", "/usr/lib", "/lib"):
        name = place + "/libseccomp.so.2"
        try:
            status = posix.stat(name)
        except OSError:
            continue
        return name, f"{name} {status.st_ino} {status.st_size} {status.st_mtime_ns}"
    return "libseccomp.so.2", ""


def _key(seccomp: dict[str, object], version: str) -> str:
    system = posix.uname()
    parts = [_MAGIC.decode(), version, system.machine, system.release, str(sys.maxsize)]
    parts += [repr(seccomp.get(name)) for name in _KEYS]
    # Faults are found when compiling: a profile that differs in one must not hit the other's entry.
    parts.append(repr((bool(seccomp.get("listenerPath")), bool(seccomp.get("listenerMetadata")))))
    key: str = sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
    return key


def _open_cache(path: str) -> int:
    """Descriptor of the cache directory, or -1 if it cannot be made or is not ours alone."""
    flags = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC
    try:
        try:
            directory = posix.open(path, flags)
        except FileNotFoundError:
            _make_directory(path)
            directory = posix.open(path, flags)
    except OSError:
        return -1
    status = posix.fstat(directory)
    if status.st_uid != posix.geteuid() or status.st_mode & 0o7777 != 0o700:
        posix.close(directory)
        return -1
    return directory


def _make_directory(path: str) -> None:
    parent = path.rstrip("/").rpartition("/")[0]
    try:
        posix.mkdir(path, 0o700)
    except FileExistsError:
        pass
    except FileNotFoundError:
        if not parent:
            raise
        _make_directory(parent)
        _make_directory(path)


def _checksum(key: str, flags: bytes, bpf: bytes) -> bytes:
    # The key is part of it, so an entry under another's name is no entry.
    digest: bytes = sha256(key.encode() + flags + bpf).digest()
    return digest


def _read(directory: int, key: str) -> Filter | None:
    """The entry, or None if there is none that can be trusted."""
    flags = posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_CLOEXEC | posix.O_NONBLOCK
    try:
        fd = posix.open(key, flags, dir_fd=directory)
    except OSError:
        return None
    try:
        status = posix.fstat(fd)
        if (
            status.st_mode != _S_IFREG | 0o600
            or status.st_uid != posix.geteuid()
            or status.st_nlink != 1
            or not _HEADER < status.st_size <= _HEADER + _MAX_BPF
        ):
            return None
        data = posix.read(fd, status.st_size)
    except OSError:
        return None
    finally:
        posix.close(fd)
    start = len(_MAGIC)
    numbers = data[start : start + 12]
    bpf = data[_HEADER:]
    if (
        data[:start] != _MAGIC
        or int.from_bytes(numbers[8:], "little") != len(bpf)
        or data[start + 12 : _HEADER] != _checksum(key, numbers, bpf)
    ):
        return None
    notify = int.from_bytes(numbers[4:8], "little") != 0
    return Filter(bpf, int.from_bytes(numbers[:4], "little"), notify)


def _write(directory: int, key: str, compiled: Filter) -> None:
    """Leave the entry for the next time; a cache that cannot be written is not an error."""
    numbers = b"".join(
        number.to_bytes(4, "little") for number in (compiled.flags, int(compiled.notify), len(compiled.bpf))
    )
    data = _MAGIC + numbers + _checksum(key, numbers, compiled.bpf) + compiled.bpf
    temporary = f".{key[:16]}.{posix.getpid()}"
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC
    try:
        try:
            fd = posix.open(temporary, flags, 0o600, dir_fd=directory)
        except FileExistsError:  # left behind by one that died and had our pid
            posix.unlink(temporary, dir_fd=directory)
            fd = posix.open(temporary, flags, 0o600, dir_fd=directory)
        try:
            posix.fchmod(fd, 0o600)  # the umask may have taken bits
            written = posix.write(fd, data)
        finally:
            posix.close(fd)
        if written == len(data):
            posix.rename(temporary, key, src_dir_fd=directory, dst_dir_fd=directory)
        else:
            posix.unlink(temporary, dir_fd=directory)
    except OSError:
        try:
            posix.unlink(temporary, dir_fd=directory)
        except OSError:
            pass


def refuse(path: str, message: str, *, hint: str = "", subject: str = "", errno: int = 0) -> Error:
    """The Error for something in linux.seccomp; ``path`` is relative to it."""
    where = "linux.seccomp" + ("." + path if path else "")
    return Error(
        message,
        code="seccomp",
        step="seccomp",
        path=where,
        hint=hint,
        subject=subject,
        errno=errno,
    )
