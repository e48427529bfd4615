"""The snapshot: the memory of an interpreter that has loaded pyrunc and waits for a command line.

Starting an interpreter and loading the modules takes more than all that a verb does. So `pyrunc snapshot`,
which `make build` calls, writes an image of a process that has done both; the launcher maps it and goes on
from there (_native/snapshot.h has the format, restore.c the way back). It is used only for the user who made
it, on the same model of processor, while the interpreter, its libraries and pyrunc are the very files
that it was made from. In every other case the launcher starts the interpreter: slower, and the same.
"""

from __future__ import annotations

import errno
import gc
import posix
import sys

from pyrunc._native.load import clone
from pyrunc.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

NAME = "pyrunc.snapshot"

_HINTS = {
    errno.ENOTSUP: "needs an x86_64 processor and the GNU C library",
    errno.ENAMETOOLONG: "a path is longer than 215 bytes: install pyrunc, and Python, in a shorter one",
    errno.E2BIG: "this interpreter has more libraries or mappings than an image can have",
    errno.EBUSY: "this interpreter shares memory with others",
    errno.ENOSPC: "17 MB are needed",
}

# The kernel puts libraries below the room of the stack (mm/util.c: mmap_base). With this much room, 16 TiB,
# they lie where those of the launcher, whose own limit is an ordinary one, never are.
_STACK = 1 << 44

# The C library is to register no restartable sequence (rseq(2)), which the image would not have, and to bind
# all symbols before the image is made, not in every process that comes of it.
_ENVIRONMENT = {b"GLIBC_TUNABLES": b"glibc.pthread.rseq=0", b"LD_BIND_NOW": b"1"}


def make() -> str:
    """Write the snapshot beside the package; the path. Does not return the first time that it is called: a
    new interpreter goes on. In the image, it does not return at all.

    Raises Error (code "snapshot") when it can't be had here: no x86_64, or no GNU C library.
    """
    path = f"{_site_dir()}/pyrunc/{NAME}"
    _remove(path)
    if not _ENVIRONMENT.items() <= posix.environ.items():
        _start_again(path)
    _load_everything()
    temporary = f"{path}.{posix.getpid()}"
    fd = posix.open(temporary, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o600)
    try:
        _take(fd, path)
        posix.fsync(fd)  # after a crash of the machine it would have holes, and be mapped all the same
        posix.rename(temporary, path)
        _list_as_installed()
    except BaseException:
        _remove(temporary)
        raise
    finally:
        posix.close(fd)
    return path


def _list_as_installed() -> None:
    """In RECORD, by which pip uninstalls: what is not listed there stays behind."""
    line = f"pyrunc/{NAME},,"
    for name in posix.listdir(_site_dir()):
        if name.startswith("pyrunc-") and name.endswith(".dist-info"):
            try:
                fd = posix.open(
                    f"{_site_dir()}/{name}/RECORD", posix.O_RDWR | posix.O_APPEND | posix.O_CLOEXEC
                )
            except OSError:
                continue  # packaged without one, or not ours to write
            if line not in posix.pread(fd, 1 << 20, 0).decode().split():
                posix.write(fd, f"{line}\n".encode())
            posix.close(fd)


def _start_again(path: str) -> NoReturn:
    import _signal  # type: ignore[import-not-found]
    from resource import RLIMIT_STACK, getrlimit, setrlimit

    _, hard = getrlimit(RLIMIT_STACK)
    try:
        setrlimit(RLIMIT_STACK, (_STACK, hard))
    except (OSError, ValueError):
        raise _error(path, 0, "the limit of the stack can't be raised (ulimit -Hs)") from None
    # A shell ignores it in what it starts in the background, and the new interpreter would leave it at that.
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    posix.execve("/proc/self/exe", _own_arguments(), _ENVIRONMENT)


def _take(fd: int, path: str) -> None:
    """Returns when the image is written. In the image, the command line of the launcher is carried out."""
    native = clone()
    argc = native.ffi.new("long *")
    argv = native.ffi.new("char ***")
    envp = native.ffi.new("char ***")
    gc.collect()
    gc.freeze()
    bundle = f"{_site_dir()}/pyrunc/{sys.implementation.cache_tag}.bundle"  # its content is in the image
    result = native.lib.pyrunc_snapshot(fd, path.encode(), bundle.encode(), argc, argv, envp)
    if result < 0:
        raise _error(path, -result, _HINTS.get(-result, "see the page of this error"))
    if result == 0:
        return
    try:  # nothing may unwind to where the image was made
        from pyrunc.cli import main, report

        report.forget()  # the log of the call that made the image
        _set_environment(native.ffi, envp[0])
        text = native.ffi.string
        main.main([text(argv[0][i]).decode("utf-8", "surrogateescape") for i in range(1, argc[0])])
    finally:
        posix._exit(1)


def _set_environment(ffi: Any, envp: Any) -> None:
    """posix.environ, as the interpreter makes it when it starts."""
    environment = posix.environ
    environment.clear()
    i = 0
    while envp[i]:
        name, equals, value = ffi.string(envp[i]).partition(b"=")
        if equals:
            environment.setdefault(name, value)
        i += 1


def _load_everything() -> None:
    """All modules of the bundle (pyrunc/boot.py): those that the verbs need at once, and C's."""
    from pyrunc.boot import Bundle

    for finder in sys.meta_path:
        if type(finder).__name__ == Bundle.__name__:
            for name in finder.names():  # type: ignore[attr-defined]
                __import__(name)
    clone()


def _site_dir() -> str:
    return str(getattr(sys.modules["pyrunc"], "site_dir", ""))


def _own_arguments() -> list[bytes]:
    fd = posix.open("/proc/self/cmdline", posix.O_RDONLY | posix.O_CLOEXEC)
    data = b""
    while more := posix.read(fd, 1 << 16):
        data += more
    posix.close(fd)
    return data.split(b"\0")[:-1]


def _remove(path: str) -> None:
    try:
        posix.unlink(path)
    except FileNotFoundError:
        pass


def _error(path: str, number: int, hint: str) -> Error:
    return Error(
        f"no snapshot can be written to {path}",
        code="snapshot",
        step="snapshot",
        subject=path,
        errno=number,
        hint=f"{hint}; pyrunc works without it, but starts more slowly",
    )
