"""Hands the seccomp listener to its agent: config-linux.md, The Container Process State."""

from __future__ import annotations

import _socket
import _struct
import posix

from pyrunc.state_json import quote, state_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.errors import Error
    from pyrunc.spec import Spec


def connect(spec: Spec) -> _socket.socket:
    """A connection to the agent, before the program can run. Raises Error."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    path = spec.linux.child("seccomp").text("listenerPath")
    try:
        connection.connect(path)
    except OSError as error:
        connection.close()
        raise _unreachable(path, "connect", error) from None
    return connection


def hand_over(connection: _socket.socket, spec: Spec, id: str, bundle: str, pid: int, listener: int) -> None:
    """One message with the descriptor, then the end; closes ``connection`` and ``listener``. Raises Error."""
    seccomp = spec.linux.child("seccomp")
    version = spec.text("ociVersion")
    before, after = state_json(id, "creating", bundle, version, spec.mapping("annotations"))
    metadata = seccomp.text("listenerMetadata")
    extra = f',"metadata":{quote(metadata)}' if metadata else ""
    text = (
        f'{{"ociVersion":{quote(version)},"fds":["seccompFd"],"pid":{pid}{extra},"state":{before}{pid}{after}}}'
    ).encode()
    try:
        rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, _struct.pack("i", listener))]
        sent = connection.sendmsg([text], rights, _socket.MSG_NOSIGNAL)
        while sent < len(text):
            sent += connection.send(text[sent:], _socket.MSG_NOSIGNAL)
    except OSError as error:
        raise _unreachable(seccomp.text("listenerPath"), "sendmsg", error) from None
    finally:
        connection.close()
        posix.close(listener)


def _unreachable(path: str, syscall: str, error: OSError) -> Error:
    from pyrunc.explain.files import agent_unreachable

    return agent_unreachable(path, syscall, error.errno or 0)
