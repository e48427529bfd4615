"""Talk between the runtime and pyrunc-init: messages on a SOCK_SEQPACKET, as plan.h lays them out.

parent                                 pyrunc-init
  spawn ───────────────────────────────▶ decodes the plan, executes steps
  ◀────────────────────── STAGE n ────── (id maps, hooks of the runtime)
  GO ──────────────────────────────────▶
  ◀────────────────────── READY ──────── all is done but the start
  GO ──────────────────────────────────▶ waits for START (from here on without the parent)
  START ───────────────────────────────▶ startContainer hooks
  ◀────────────────────── EXEC ───────── execve; the end of the file says that it worked
  ◀────────────────────── FAILED ─────── at any time: step, errno
"""

from __future__ import annotations

import _socket
import _struct

from pyrunc import timeline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# PLAN_MSG_* of plan.h, which says what each means.
STAGE, GO, READY, START, EXEC, FAILED, WARNING, PID, LISTENER, STEP = range(1, 11)
_LAYOUT = _struct.Struct("<IIiIq")  # struct plan_message


class Message:
    """One message of init."""

    __slots__ = ("kind", "step", "errno", "detail", "value", "text", "fd")

    def __init__(self, data: bytes, fd: int) -> None:
        fields = _LAYOUT.unpack_from(data)
        self.kind, self.step, self.errno, self.detail, self.value = fields
        self.text = data[_LAYOUT.size :].decode("utf-8", "replace")
        self.fd = fd


def say(socket: _socket.socket, kind: int, value: int = 0) -> None:
    """Raises OSError when init is gone."""
    socket.send(_LAYOUT.pack(kind, 0, 0, 0, value), _socket.MSG_NOSIGNAL)


def receive(socket: _socket.socket) -> Message | None:
    """The next message; None at the end."""
    try:
        data, ancillary, _, _ = socket.recvmsg(4096, _socket.CMSG_SPACE(4), _socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        return None
    if len(data) < _LAYOUT.size:
        return None
    fd = -1
    for _, kind, value in ancillary:
        if kind == _socket.SCM_RIGHTS:
            fd = _struct.unpack("i", value[:4])[0]
    return Message(data, fd)


def await_exec(socket: _socket.socket, listener: Callable[[int], None]) -> Message | None:
    """After START: None when the user's program runs, else what failed. Raises Error when init vanishes.

    ``listener`` gets the descriptor of the seccomp listener, if there is one.
    """
    said_exec = False
    while message := receive(socket):
        if message.kind == EXEC:
            said_exec = True
        elif message.kind == STEP:
            timeline.step(message.step, message.value)
        elif message.kind == LISTENER:
            listener(message.fd)
        elif message.kind == FAILED:
            return message
    if not said_exec:
        from pyrunc.explain import init_vanished

        raise init_vanished(-1)
    return None
