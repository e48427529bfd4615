"""Hands the seccomp listener to its agent: config-linux.md, The Container Process State."""

from __future__ import annotations

import _socket
import _struct
import posix

from pyrunc.descriptors import connected
from pyrunc.state_json import quote, state_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrunc.errors import Error
    from pyrunc.spec import Spec
    from pyrunc.state_directory import State


def receiver(spec: Spec, state: State, pid: int = 0) -> Callable[[int], None]:
    """Connects to the agent, before the program can run; what is returned hands a listener over, and closes
    it. Both raise Error. ``pid``: of a process of `exec`; without it, it is the container's own.
    """
    path = spec.linux.child("seccomp").text("listenerPath")
    try:
        connection = connected(path)
    except OSError as error:
        raise _unreachable(path, "connect", error) from None
    own = state.record["pid"]
    text = _message(spec, state, "running" if pid else "creating", own, pid or own)
    return lambda listener: _hand_over(connection, path, text, listener)


def _message(spec: Spec, state: State, status: str, own: int, pid: int) -> bytes:
    """``status`` and ``own`` are the container's, ``pid`` is of the process that has the filter."""
    version = spec.text("ociVersion")
    before, after = state_json(state.id, status, state.record["bundle"], version, spec.mapping("annotations"))
    metadata = spec.linux.child("seccomp").text("listenerMetadata")
    extra = f',"metadata":{quote(metadata)}' if metadata else ""
    process = f'"ociVersion":{quote(version)},"fds":["seccompFd"],"pid":{pid}{extra}'
    return f'{{{process},"state":{before}{own}{after}}}'.encode()


def _hand_over(connection: _socket.socket, path: str, text: bytes, listener: int) -> None:
    """One message with the descriptor, then the end."""
    try:
        rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, _struct.pack("i", listener))]
        sent = connection.sendmsg([text], rights, _socket.MSG_NOSIGNAL)
        while sent < len(text):
            sent += connection.send(text[sent:], _socket.MSG_NOSIGNAL)
    except OSError as error:
        raise _unreachable(path, "sendmsg", error) from None
    finally:
        connection.close()
        posix.close(listener)


def _unreachable(path: str, syscall: str, error: OSError) -> Error:
    from pyrunc.explain.files import agent_unreachable

    return agent_unreachable(path, syscall, error.errno or 0)
