"""Hands the seccomp listener to its agent: config-linux.md, The Container Process State."""

from __future__ import annotations

import _socket
import _struct
import posix

from pyrunc.errors import Error
from pyrunc.state_json import quote, state_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.spec import Spec


def hand_over(spec: Spec, id: str, bundle: str, pid: int, listener: int) -> None:
    """One connection, one message with the descriptor, then the end; closes ``listener``. Raises Error."""
    seccomp = spec.linux.child("seccomp")
    path = seccomp.text("listenerPath")
    version = spec.text("ociVersion")
    before, after = state_json(id, "creating", bundle, version, spec.mapping("annotations"))
    metadata = seccomp.text("listenerMetadata")
    extra = f',"metadata":{quote(metadata)}' if metadata else ""
    text = (
        f'{{"ociVersion":{quote(version)},"fds":["seccompFd"],"pid":{pid}{extra},"state":{before}{pid}{after}}}'
    ).encode()
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.connect(path)
        rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, _struct.pack("i", listener))]
        sent = connection.sendmsg([text], rights, _socket.MSG_NOSIGNAL)
        while sent < len(text):
            sent += connection.send(text[sent:], _socket.MSG_NOSIGNAL)
    except OSError as error:
        raise Error(
            f"the seccomp agent at {path} can't be reached",
            code="seccomp-listener",
            step="seccomp",
            path="linux.seccomp.listenerPath",
            syscall="connect",
            subject=path,
            errno=error.errno or 0,
        ) from None
    finally:
        connection.close()
        posix.close(listener)
