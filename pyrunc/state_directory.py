"""The state directory of a container, <root>/<id>: atomic, locked, versioned.

    state.json    the record: what was done, each side effect written before it happens
    config.json   the configuration as it was at create; later edits of the bundle don't matter
    start.sock    where pyrunc-init waits for `start`

Whoever changes a container holds a flock on the directory. A reader needs none: state.json is replaced
as a whole.
"""

from __future__ import annotations

import errno
import fcntl
import posix

from pyrunc.errors import AlreadyExists, Error, NotFound, Usage
from pyrunc.record import checked, shaped
from pyrunc.spec import Refused, Spec, parse_json
from pyrunc.state_json import dump

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ID_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+.-")
_NAME_MAX = 255
_DIRECTORY = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC
_OTHERS_WRITE = 0o022
_LARGEST = 1 << 25  # bytes of a record: a configuration's annotations are the most of it
# No link is followed, no fifo waited for.
_RECORD = posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC
_NO_FILE = (errno.ELOOP, errno.EISDIR, errno.ENXIO)  # there is a link, a directory, a socket
_FILES = ("state.json", "config.json", "start.sock")


class State:
    """An open state directory and its record. ``locked``: nobody else changes it until it is closed."""

    __slots__ = ("root", "id", "fd", "record", "locked")

    def __init__(self, root: str, id: str, fd: int, record: dict[str, Any]) -> None:
        self.root = root
        self.id = id
        self.fd = fd
        self.record = record
        self.locked = False

    def __enter__(self) -> State:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def directory(self) -> str:
        return f"{self.root}/{self.id}"

    def save(self) -> None:
        """Replace state.json as a whole."""
        self.write("state.json.new", dump(self.record).encode())
        posix.rename("state.json.new", "state.json", src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def reload(self) -> None:
        """Read the record again. Raises Error: "state-damaged", or that of a file that can't be read."""
        try:
            self.record = checked(parse_json(self.read("state.json").decode()))
        except FileNotFoundError:
            self.record = {}  # killed before the first record: nothing else was made
        except OSError as error:
            if error.errno in _NO_FILE:
                raise self._damaged() from None
            raise _failed("reading the state", self.directory, error) from None
        except Refused as refused:
            raise self._damaged(f": {refused.path} {refused.why}" if refused.path else "") from None
        except UnicodeDecodeError:
            raise self._damaged() from None

    def config(self) -> Spec:
        """The configuration as it was at create. Raises Error: "state-damaged"."""
        try:
            return Spec(self.read("config.json"))
        except (OSError, Refused):
            raise self._damaged() from None

    def _damaged(self, why: str = "") -> Error:
        return Error(
            f"the state of {self.id} is damaged{why}",
            code="state-damaged",
            subject=self.directory,
            hint="delete --force removes it; what the container made has to be looked for",
        )

    def lock(self, wait: bool = True) -> bool:
        """Keep out all others who lock it. False, without ``wait``, when another has the lock."""
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        self.locked = True
        return True

    def unlock(self) -> None:
        fcntl.flock(self.fd, fcntl.LOCK_UN)
        self.locked = False

    def gone(self) -> bool:
        """Whether it was deleted, as while we waited for the lock."""
        return not posix.fstat(self.fd).st_nlink

    def write(self, name: str, content: bytes) -> None:
        flags = posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_NOFOLLOW | posix.O_CLOEXEC
        fd = posix.open(name, flags, 0o600, dir_fd=self.fd)
        try:
            while content:
                content = content[posix.write(fd, content) :]
        finally:
            posix.close(fd)

    def read(self, name: str) -> bytes:
        """The content of a file of the state, cut where none is as long; raises OSError."""
        return read_file(name, self.fd, limit=_LARGEST, flags=_RECORD)

    def remove(self) -> None:
        """Remove the directory with all that is in it: nothing but files of pyrunc's own."""
        try:
            self._remove_all()
        except OSError as error:
            raise _failed("removing the state", self.directory, error) from None
        finally:
            self.close()

    def _remove_all(self) -> None:
        for name in _FILES:
            _remove_one(name, self.fd)
        if not self._remove_directory():
            _remove_one("notify/notify.sock", self.fd)
            for name in posix.listdir(self.fd):
                _remove_one(name, self.fd)
            self._remove_directory()

    def _remove_directory(self) -> bool:
        """False when something is in it."""
        try:
            posix.rmdir(self.directory)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
            return False
        return True

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            try:
                posix.close(fd)
            except OSError:
                pass  # whatever close(2) says, the descriptor is gone


def check_id(id: str) -> str:
    """The id, if it may be a container's: the one name below the state root. Raises Usage."""
    if not id or id in (".", "..") or len(id) > _NAME_MAX or not _ID_CHARACTERS.issuperset(id):
        from pyrunc.cli.json_text import quote

        raise Usage(
            f"invalid container ID format: {quote(id)}",
            code="invalid-id",
            subject=id,
            hint="an id is 1 to 255 of the characters A-Z a-z 0-9 _ + . - and not . or ..",
        )
    return id


def make(root: str, id: str) -> State:
    """A new, locked state directory. Raises AlreadyExists: mkdir decides who was first."""
    check_id(id)
    try:
        try:
            posix.mkdir(f"{root}/{id}", 0o711)
        except FileNotFoundError:
            _make_root(root)
            posix.mkdir(f"{root}/{id}", 0o711)
    except FileExistsError:
        raise AlreadyExists(
            "container with given ID already exists",
            code="already-exists",
            subject=id,
            hint=f"choose another id, or delete that container: pyrunc delete {id}",
        ) from None
    except OSError as error:
        raise _failed("making the state directory", f"{root}/{id}", error) from None
    try:
        fd = posix.open(f"{root}/{id}", _DIRECTORY)
    except FileNotFoundError:
        return make(root, id)
    except OSError as error:
        _remove_empty(f"{root}/{id}")
        raise _failed("opening the state directory", f"{root}/{id}", error) from None
    state = State(root, id, fd, {})
    try:
        state.lock()
        gone = state.gone()
    except OSError as error:
        state.close()
        _remove_empty(f"{root}/{id}")
        raise _failed("locking the state directory", f"{root}/{id}", error) from None
    if gone:
        # Before we had the lock, `delete --force` or `gc` took it for what a killed create had left.
        state.close()
        return make(root, id)
    return state


def load(root: str, id: str, lock: bool = False, damaged: bool = False, wait: bool = True) -> State:
    """The state of an existing container. Raises NotFound, and without ``wait`` Error ("busy") when another
    has the lock. ``damaged``: one without a record will do.
    """
    check_id(id)
    try:
        fd = posix.open(f"{root}/{id}", _DIRECTORY)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise _missing(id) from None
        raise _failed("opening the state", f"{root}/{id}", error) from None
    state = State(root, id, fd, {})
    if lock and not state.lock(wait):
        busy = _busy(state)
        state.close()
        raise busy
    status = posix.fstat(fd)
    if lock and not status.st_nlink:  # deleted while we waited
        state.close()
        raise _missing(id)
    if not _is_ours(status):
        state.close()
        raise _foreign(f"{root}/{id}", status)
    try:
        state.reload()
    except Error as error:
        # Of what can't be read nothing is known: to go on would be to forget what the record names.
        if not damaged or error.code != "state-damaged":
            state.close()
            raise
    return state


def glance(root: str, id: str) -> tuple[State, int]:
    """What load() gives, and the user id of who made it, in half the system calls: for a reader of many.

    The state has no descriptor of its directory (``fd`` is -1), and is to be looked at only: what it says of
    mounts and of the cgroup is not checked.
    """
    try:
        fd = posix.open(f"{root}/{id}/state.json", _RECORD)
        try:
            status = posix.fstat(fd)
            if not _is_ours(status):
                raise Refused("", "somebody else's")
            record = shaped(parse_json(read_open(fd, _LARGEST).decode()))
            return State(root, id, -1, record), status.st_uid
        finally:
            posix.close(fd)
    except (OSError, Refused, UnicodeDecodeError):
        state = load(root, id)  # says what is wrong
        owner = posix.fstat(state.fd).st_uid
        state.close()
        return state, owner


def _is_ours(status: posix.stat_result) -> bool:
    """Whether only we can have written it. A record says what to kill, to unmount and to remove."""
    return status.st_uid == posix.geteuid() and not status.st_mode & _OTHERS_WRITE


def ids(root: str) -> list[str]:
    """The containers under a state root, sorted."""
    try:
        entries = posix.scandir(root)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _failed("reading the state root", root, error) from None
    with entries:
        return sorted([entry.name for entry in entries if _is_container(entry)])


def read_file(path: str, dir_fd: int | None = None, limit: int = 1 << 30, flags: int = 0) -> bytes:
    """The content of a regular file, or of one that the kernel gives in one piece (not mountinfo, nor locks);
    a little more than ``limit`` bytes of it at most. Raises OSError.
    """
    fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | flags, dir_fd=dir_fd)
    try:
        return read_open(fd, limit)
    finally:
        posix.close(fd)


def read_open(fd: int, limit: int = 1 << 30) -> bytes:
    """As ``read_file``, the rest of an open file: the first short read is the last."""
    piece = posix.read(fd, 65536)
    pieces = [piece]
    while len(piece) == 65536 and len(pieces) * 65536 <= limit:
        piece = posix.read(fd, 65536)
        pieces.append(piece)
    return b"".join(pieces)


def read_to_end(path: str) -> bytes:
    """The content of any file, also of one that comes record by record; raises OSError."""
    fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        return b"".join(iter(lambda: posix.read(fd, 65536), b""))
    finally:
        posix.close(fd)


def write_file(path: str, text: str) -> None:
    """Write to a file of the kernel's in one call; raises OSError."""
    fd = posix.open(path, posix.O_WRONLY | posix.O_CLOEXEC)
    try:
        posix.write(fd, text.encode())
    finally:
        posix.close(fd)


def _is_container(entry: posix.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")


def _make_root(root: str) -> None:
    try:
        posix.mkdir(root, 0o700)
    except FileExistsError:
        pass
    except FileNotFoundError:
        _make_root(root.rpartition("/")[0])
        _make_root(root)


def _remove_empty(path: str) -> None:
    try:
        posix.rmdir(path)
    except OSError:
        pass


def _remove_one(name: str, fd: int) -> None:
    try:
        posix.unlink(name, dir_fd=fd)
    except FileNotFoundError:
        pass
    except (IsADirectoryError, PermissionError):
        posix.rmdir(name, dir_fd=fd)


def _missing(id: str) -> NotFound:
    hint = "`pyrunc list` shows what there is; another --root has other containers"
    return NotFound("container does not exist", code="not-found", subject=id, hint=hint)


def _busy(state: State) -> Error:
    from pyrunc.explain.files import state_busy

    return state_busy(state.id, state.fd)


def _foreign(path: str, status: posix.stat_result) -> Error:
    from pyrunc.explain.files import state_foreign

    return state_foreign(path, status.st_uid, status.st_mode)


def _failed(step: str, subject: str, error: OSError) -> Error:
    from pyrunc.explain.files import state_unusable

    return state_unusable(step, subject, error.errno or 0)
