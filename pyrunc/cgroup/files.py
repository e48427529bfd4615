"""Small acts on cgroup files and directories. Each failure is an Error that names the file."""

from __future__ import annotations

import errno
import posix
import time

from pyrunc.errors import Error
from pyrunc.state_directory import read_file, write_file

ROOT = "/sys/fs/cgroup"
# What systemd delegates, to scopes and to users. Of the kernel's other controllers it knows nothing.
DELEGATED = ("cpu", "cpuset", "io", "memory", "pids")
_READ = posix.O_RDONLY | posix.O_CLOEXEC

# What the kernel says where the cgroup above is gone, or just being removed.
VANISHED = (errno.ENOENT, errno.ENODEV)
TRIES = 8
# There is no such cgroup: ENOTDIR where a file of a cgroup has the name of one above it.
_GONE = (errno.ENOENT, errno.ENODEV, errno.ENOTDIR)

HINTS = {
    errno.ENOENT: "the controller, or this setting of it, is not available on this kernel",
    errno.EACCES: "pyrunc has no right to this cgroup; run as root or have it delegated",
    errno.EPERM: "pyrunc has no right to do this in this cgroup; run as root or have it delegated",
    errno.EROFS: "the cgroup file system is mounted read-only here",
    errno.EINVAL: "the kernel does not take this value; see also the limits of the parent cgroup",
    errno.EBUSY: "the cgroup or its parent is in use",
    errno.ENOSPC: "the parent cgroup has none left (v1 cpuset: cpuset.cpus or cpuset.mems empty)",
    errno.ERANGE: "the value is out of the kernel's range",
    errno.ENODEV: "there is no such device",
}


def failure(
    message: str, subject: str, number: int = 0, path: str = "", syscall: str = "", hint: str = ""
) -> Error:
    """The Error of this package; ``number`` is an errno, told by symbol at the edge."""
    return Error(
        message,
        code="cgroup",
        step="cgroup",
        path=path,
        syscall=syscall,
        errno=number,
        subject=subject,
        hint=hint or HINTS.get(number, ""),
    )


def unavailable(controller: str, path: str) -> Error:
    """The config asks for a controller that this host does not have."""
    where = "the command line" if path.startswith("--") else "config.json"
    return failure(
        f"the requested cgroup controller `{controller}` is not available",
        controller,
        path=path,
        hint=f"remove {path} from {where}, or enable the controller on the host",
    )


def put(file: str, value: str, path: str, ignore: tuple[int, ...] = ()) -> bool:
    """Write a setting; False when the kernel refused it with an errno in ``ignore``."""
    try:
        write_file(file, value)
    except OSError as e:
        number = e.errno or 0
        if number in ignore:
            return False
        raise refused(file, value, number, path) from None
    return True


def refused(file: str, value: str, number: int, path: str) -> Error:
    """The Error for a setting that could not be written."""
    directory, _, name = file.rpartition("/")
    if number == errno.ENOENT:
        message = f"cgroup {directory} has no setting {name}"
    else:
        message = f'cannot set {name} to "{value}" in cgroup {directory}'
    from pyrunc.explain.limits import hint

    return failure(message, file, number, path, "write", hint(file, value, number))


def read(file: str) -> str:
    """The whole text of a cgroup file; raises OSError."""
    fd = posix.open(file, _READ)
    try:
        parts = []
        while True:
            part = posix.read(fd, 65536)
            parts.append(part)
            # A kernfs read that is shorter than a page can only be the end of the file.
            if len(part) < 2048:
                return b"".join(parts).decode()
    finally:
        posix.close(fd)


def get(file: str, path: str = "") -> str:
    """As ``read``, but a failure is an Error."""
    try:
        return read(file)
    except OSError as e:
        raise failure(f"cannot read {file}", file, e.errno or 0, path, "read") from None


def exists(path: str) -> bool:
    try:
        posix.stat(path)
    except OSError:
        return False
    return True


def topmost_missing(mountpoint: str, path: str) -> str:
    """The highest directory of mountpoint + path that is not there; "" when all are there."""
    missing = ""
    while path and path != "/":
        if exists(mountpoint + path):
            break
        missing = mountpoint + path
        path = path.rpartition("/")[0]
    return missing


def chain(top: str, leaf: str) -> list[str]:
    """The directories from ``top`` down to ``leaf``, both included; [] without top."""
    if not top:
        return []
    found = [leaf]
    while leaf != top:
        leaf = leaf.rpartition("/")[0]
        found.append(leaf)
    found.reverse()
    return found


def make_directory(directory: str, mountpoint: str, tries: int = TRIES) -> bool:
    """mkdir, of what is missing above it too; False when it is there already.

    A parent that was there may be gone now: a container that had made it takes it away as it ends.
    """
    parent = directory.rpartition("/")[0]
    while True:
        try:
            posix.mkdir(directory, 0o755)
        except OSError as e:
            if e.errno == errno.EEXIST:
                return False
            if not tries or parent == mountpoint or e.errno not in VANISHED:
                message = f"cannot make cgroup {directory}"
                raise failure(message, directory, e.errno or 0, "linux.cgroupsPath", "mkdir") from None
        else:
            return True
        tries -= 1
        make_directory(parent, mountpoint, tries)


def children(directory: str) -> list[str]:
    """The child cgroups; [] when there are none or the directory is gone."""
    try:
        # kernfs counts subdirectories in the link count: one stat spares reading the directory.
        if posix.stat(directory).st_nlink == 2:
            return []
        with posix.scandir(directory) as entries:
            return [e.path for e in entries if e.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def pids(directory: str, file: str = "cgroup.procs") -> list[int]:
    """Processes directly in a cgroup; [] when it is gone."""
    try:
        return [int(p) for p in read(f"{directory}/{file}").split()]
    except OSError as e:
        if e.errno in _GONE:
            return []
        # A threaded v2 cgroup lists threads only.
        if e.errno == errno.EOPNOTSUPP and file == "cgroup.procs":
            return _processes_of(pids(directory, "cgroup.threads"))
        raise failure(
            f"cannot list the processes of cgroup {directory}",
            f"{directory}/{file}",
            e.errno or 0,
            syscall="read",
        ) from None


def _processes_of(threads: list[int]) -> list[int]:
    """The processes that the threads belong to, each once: proc_pid_status(5), Tgid."""
    found: dict[int, None] = {}
    for thread in threads:
        try:
            status = read_file(f"/proc/{thread}/status") if thread else b""
        except OSError:
            continue
        # 0 is a thread of an outer pid namespace.
        found[int(status.partition(b"\nTgid:\t")[2].partition(b"\n")[0] or 0)] = None
    return list(found)


def tree_pids(directory: str) -> list[int]:
    """Processes in a cgroup and in all cgroups below it, each once: its threads may be in several."""
    return list(dict.fromkeys(pid for each in tree(directory) for pid in pids(each)))


def tree(directory: str) -> list[str]:
    """The cgroup and all below it, parents first. A container may nest them as deep as it likes."""
    found = [directory]
    for each in found:
        found += children(each)
    return found


def _rmdir(directory: str) -> int:
    try:
        posix.rmdir(directory)
    except OSError as e:
        # A path that is too long, or leads through a file, was never made; its parents were.
        return 0 if e.errno in (errno.ENAMETOOLONG, *_GONE) else (e.errno or errno.EIO)
    return 0


def _remove_tree(directory: str) -> int:
    """One try, bottom-up; the errno of the last refusal, 0 when all is gone."""
    number = _rmdir(directory)
    if number in (errno.EBUSY, errno.ENOTEMPTY):
        below = tree(directory)[1:]
        if below:
            for child in reversed(below):
                _rmdir(child)
            number = _rmdir(directory)
    return number


def remove(places: list[tuple[str, str]]) -> None:
    """Remove each (top, leaf): the leaf with all below it, then its parents up to top if unused.

    A place without top was there before, and stays. Retries for about a second in all, since the
    kernel lets go of a dead process's cgroup a little after its parent can see the death.
    """
    pause = 0.001
    left = [place for place in places if place[0]]
    while left:
        refusals = [(_remove_tree(leaf), top, leaf) for top, leaf in left]
        for number, top, leaf in refusals:
            # A parent that can't go has someone else's container below it by now.
            while not number and leaf != top:
                leaf = leaf.rpartition("/")[0]
                number = _rmdir(leaf)
        again = [r for r in refusals if r[0]]
        if again and (pause > 0.6 or again[0][0] not in (errno.EBUSY, errno.ENOTEMPTY)):
            raise _in_use(again[0][2], again[0][0])
        if again:
            time.sleep(pause)
            pause *= 2
        left = [(top, leaf) for _, top, leaf in again]


def _in_use(leaf: str, number: int) -> Error:
    found = tree_pids(leaf)
    who = ": processes left: " + " ".join(map(str, found)) if found else ""
    hint = "end these processes and delete again" if found else ""
    return failure(f"cannot remove cgroup {leaf}{who}", leaf, number, syscall="rmdir", hint=hint)
