"""Opens what a plan asks for: trees to mount, namespaces to join, files of the cgroup.

init gets all of it as descriptors: it has no path of the host's to follow.
"""

from __future__ import annotations

import fcntl
import posix

from pyrunc._native.load import checked, clone
from pyrunc.errors import Error
from pyrunc.plan import (
    FD_CGROUP,
    FD_CONSOLE,
    FD_ID_MAPS,
    FD_INIT,
    FD_INIT_ROOT,
    FD_NAMESPACE,
    FD_TREE_RECURSIVE,
)
from pyrunc.process import open_pidfd, send
from pyrunc.state_directory import read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.plan import FdRequest, Plan

_NS_GET_NSTYPE = 0xB703


class Opened:
    """Descriptors that the plan asked for: what goes where, and what is closed at the end of ``with``."""

    __slots__ = ("fds", "close_after")

    def __init__(self) -> None:
        self.fds: list[int] = []
        self.close_after: list[int] = []

    def own(self, fd: int) -> int:
        """The same descriptor, which is closed with the others; -1 is none."""
        if fd >= 0:
            self.close_after.append(fd)
        return fd

    def close(self) -> None:
        close_all(self.close_after)
        self.close_after = []

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


def close_all(fds: list[int]) -> None:
    """Close open descriptors; a row of them at once."""
    first = last = -1
    for fd in sorted(fds):
        if fd != last + 1 or first < 0:
            if first >= 0:
                posix.closerange(first, last + 1)
            first = fd
        last = fd
    if first >= 0:
        posix.closerange(first, last + 1)


def open_requests(plan: Plan, console: int = -1, init_pidfd: int = -1) -> Opened:
    """Open what the plan asks for, in order."""
    opened = Opened()
    try:
        for request in plan.fds:
            if request.kind == FD_CONSOLE:
                opened.fds.append(console)
            elif request.kind == FD_INIT:
                opened.fds.append(init_pidfd)
            else:
                if request.kind == FD_CGROUP:
                    fd = _cgroup_file(request)
                elif request.kind == FD_NAMESPACE:
                    fd = _namespace(request)
                elif request.kind == FD_ID_MAPS:
                    fd = _id_maps(request)
                elif request.kind == FD_INIT_ROOT:
                    fd = _root_of(init_pidfd)
                else:
                    fd = _tree(request)
                opened.fds.append(opened.own(fd))
    except BaseException:
        opened.close()
        raise
    return opened


def follow(pid: int, start_time: int) -> int:
    """A pidfd of the container's process, or the error that it is gone."""
    fd = open_pidfd(pid, start_time)
    if fd < 0:
        raise _not_running()
    return fd


def _tree(request: FdRequest) -> int:
    recursive = 1 if request.kind == FD_TREE_RECURSIVE else 0
    path = request.value.encode("utf-8", "surrogateescape")
    result: int = clone().lib.pyrunc_open_tree(path, recursive, 1)
    if result < 0:
        from pyrunc.explain import source_failed

        raise source_failed(request, -result)
    if request.id_maps:
        _map_ids(request, result)
    return result


def _map_ids(request: FdRequest, tree: int) -> None:
    assert request.id_maps
    namespace = -1
    try:
        namespace = _id_maps(request)
        result = clone().lib.pyrunc_idmap(tree, namespace, int(request.id_maps[2]))
        checked(result, "mount_setattr", request.path, request.value)
    except Error:
        posix.close(tree)
        raise
    finally:
        if namespace >= 0:
            posix.close(namespace)


def _id_maps(request: FdRequest) -> int:
    """An id-mapped mount takes its maps from a user namespace: mount_setattr(2)."""
    assert request.id_maps
    uids, gids, _ = request.id_maps
    namespace = clone().lib.pyrunc_user_namespace(uids.encode(), gids.encode())
    return checked(namespace, "clone3", request.path, "the id maps of a mount")


def _cgroup_file(request: FdRequest) -> int:
    try:
        return posix.open(request.value, posix.O_WRONLY | posix.O_CLOEXEC)
    except OSError as error:
        from pyrunc.cgroup.base import cannot_join

        raise cannot_join(request.value, error.errno or 0) from None


def _root_of(pidfd: int) -> int:
    """The root directory of the container's process. As that lives afterwards, its pid was no other's."""
    info = read_file(f"/proc/self/fdinfo/{pidfd}").partition(b"\nPid:\t")[2]
    try:
        root = posix.open(b"/proc/%d/root" % int(info.split()[0]), posix.O_PATH | posix.O_CLOEXEC)
    except FileNotFoundError:
        raise _not_running() from None
    if not send(pidfd, 0):
        posix.close(root)
        raise _not_running()
    return root


def _not_running() -> Error:
    return Error("container not running", code="not-running")


def _namespace(request: FdRequest) -> int:
    try:
        fd = posix.open(request.value, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError as error:
        from pyrunc.explain.files import namespace_unopened

        raise namespace_unopened(request, error.errno or 0) from None
    try:
        kind: Any = fcntl.ioctl(fd, _NS_GET_NSTYPE)
    except OSError:
        kind = 0
    if kind != request.nstype:
        posix.close(fd)
        raise Error(
            f"{request.value} is not a namespace of the type that is given with it",
            code="namespace-type",
            step="setns",
            path=request.path,
            subject=request.value,
            hint="correct type or path; in /proc/PID/ns the file net is of type network, mnt of type mount",
        )
    if request.written and _is_own(fd, request.nstype):
        posix.close(fd)
        raise Error(
            f"{request.written} would be set for the host: {request.value} is the runtime's own namespace",
            code="namespace-path",
            step="setns",
            path=request.path,
            subject=request.value,
            hint="take the parameter out of linux.sysctl, or give the container a namespace of its own",
        )
    return fd


def _is_own(fd: int, nstype: int) -> bool:
    from pyrunc.vocabulary.namespaces import NAMESPACE_FILES, NAMESPACES

    file = next(NAMESPACE_FILES[kind] for kind, flag in NAMESPACES.items() if flag == nstype)
    own = posix.stat(f"/proc/self/ns/{file}")
    given = posix.fstat(fd)
    return (own.st_dev, own.st_ino) == (given.st_dev, given.st_ino)
