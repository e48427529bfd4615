"""--pid-file: digits only, complete when it appears."""

from __future__ import annotations

import posix


def write(path: str, pid: int) -> None:
    """Raises Error; then a file that was there before is as it was."""
    unfinished = temporary(path)
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC
    try:
        fd = posix.open(unfinished, flags, 0o644)
        try:
            posix.write(fd, str(pid).encode())
        finally:
            posix.close(fd)
        posix.rename(unfinished, path)
    except OSError as error:
        from pyrunc.explain.files import pid_file_unwritten

        remove(unfinished)
        raise pid_file_unwritten(path, error.errno or 0) from None


def temporary(path: str) -> str:
    """Beside the file: what is complete is renamed."""
    directory, slash, name = path.rpartition("/")
    return f"{directory}{slash}.{name}.{posix.getpid()}"


def remove(path: str) -> None:
    """What can't be removed, or isn't there, stays as it is."""
    try:
        posix.unlink(path)
    except OSError:
        pass
