"""CRIU by the messages of `criu swrk`, for what its command line can't do: a terminal.

The other end of the container's terminal is held by none of its processes. CRIU leaves it out of the images,
makes it anew at restore, and hands it over in a message. The messages are protocol buffers (rpc.proto of
CRIU); all but what only they can say stands in a configuration file, by the names of the command line.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pyrunc import criu

_KINDS = {"dump": 1, "restore": 2, "pre-dump": 4}
_NOTIFY = 6
_MODES = ("ignore", "none", "props", "soft", "full", "strict")
# What is said in the message, or is so anyway in this mode.
_SAID = ("images-dir", "tree", "manage-cgroups", "restore-detached", "restore-sibling", "pidfile")

# Name of the moment, pid of the container's process, a descriptor or -1.
Notified = Callable[[str, int, int], None]


def run(
    action: str,
    arguments: list[str],
    work: str,
    *,
    wrapper: Iterable[str] = (),
    fds: Iterable[int] = (),
    setup: Callable[[], None] | None = None,
    notified: Notified = lambda moment, pid, fd: None,
) -> int:
    """As ``criu.run``, with the same arguments; the pid of what was restored. ``notified``: see above."""
    options = dict(_options(arguments))
    configuration = f"{work}/{action}.conf"
    with open(configuration, "w") as file:
        for name, value in _options(arguments):
            if name == "config":  # a file can't name another
                file.write(Path(value).read_text() + "\n")
            elif name not in _SAID:
                file.write(f"{name} {_quoted(value)}\n")
    images, log = os.open(options["images-dir"], os.O_DIRECTORY), os.open(work, os.O_DIRECTORY)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    said: dict[int, int | bytes] = {
        1: images,  # images_dir_fd
        2: int(options.get("tree", "0")),  # pid
        9: 4,  # log_level
        10: f"{action}.log".encode(),
        12: action == "restore",  # notify_scripts
        17: log,  # work_dir_fd
        24: True,  # manage_cgroups
        26: action == "restore",  # rst_sibling
        34: _MODES.index(options["manage-cgroups"]),  # manage_cgroups_mode
        50: True,  # orphan_pts_master
        51: configuration.encode(),  # config_file
    }
    line = [*wrapper, criu.program(), "swrk", str(theirs.fileno())]
    try:
        with open(os.devnull, "rb+") as null:
            process = subprocess.Popen(
                line,
                stdin=null,
                stdout=null,
                stderr=null,
                pass_fds=(*fds, theirs.fileno()),
                preexec_fn=setup,
            )
        theirs.close()
        try:
            ours.send(_message({1: _KINDS[action], 2: _message(said)}))
            pid = _converse(ours, notified)
        except ConnectionError:
            pid = -1  # it has ended
        except BaseException:
            process.kill()
            raise
        finally:
            ours.close()
            status = process.wait()
    finally:
        os.close(images)
        os.close(log)
        os.unlink(configuration)
    if pid < 0:
        raise criu.failure(action, f"{work}/{action}.log", status)
    return pid


def _converse(connection: socket.socket, notified: Notified) -> int:
    """Answer until CRIU has said how it ended: the pid of what it restored, 0 of a dump, -1 of a failure."""
    while True:
        data, fds, _, _ = socket.recv_fds(connection, 65536, 1)
        if not data:
            return -1
        response = _fields(data)
        if response[1] != _NOTIFY:
            restored = _fields(response.get(4, b""))
            return _number(restored.get(1, 0)) if response.get(2) else -1
        notice = _fields(response[5])
        try:
            notified(_text(notice[1]), _number(notice.get(2, 0)), fds[0] if fds else -1)
        finally:
            for fd in fds:
                os.close(fd)
        connection.send(_message({1: _NOTIFY, 3: True}))


def _options(arguments: list[str]) -> Iterator[tuple[str, str]]:
    """Name and value of each option of a command line; "" where it has none."""
    words = iter([*arguments, "--"])
    name = next(words)
    while name != "--":
        value = ""
        following = next(words)
        if not following.startswith("--"):
            value, following = following, next(words)
        name, _, given = name.removeprefix("--").partition("=")
        yield name, value or given
        name = following


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"' if value else ""


def _message(fields: dict[int, int | bytes]) -> bytes:
    """Protocol buffers: numbers, which are variable in length, and bytes with their length before them."""
    encoded = b""
    for number, value in fields.items():
        if isinstance(value, bytes):
            encoded += _variable(number << 3 | 2) + _variable(len(value)) + value
        else:
            encoded += _variable(number << 3) + _variable(int(value))
    return encoded


def _variable(number: int) -> bytes:
    encoded = b""
    while number > 127:
        encoded += bytes((number & 127 | 128,))
        number >>= 7
    return encoded + bytes((number,))


def _fields(message: int | bytes) -> dict[int, int | bytes]:
    """The last value of each field; only the two kinds that CRIU's answers have."""
    assert isinstance(message, bytes)
    found: dict[int, int | bytes] = {}
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        key = number()
        value = number()
        if key & 7 == 2:
            found[key >> 3] = message[at : at + value]
            at += value
        else:
            found[key >> 3] = value
    return found


def _number(value: int | bytes) -> int:
    assert isinstance(value, int)
    return value


def _text(value: int | bytes) -> str:
    assert isinstance(value, bytes)
    return value.decode()
