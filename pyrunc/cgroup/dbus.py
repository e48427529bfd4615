"""As much of D-Bus as a runtime needs to ask systemd for a scope (the D-Bus Specification).

A library for it costs more to import than all else that a container's start does, so the few types that
systemd's properties have are marshalled here. One connection, blocking, with a limit of time.
"""

from __future__ import annotations

import _socket
import _struct

from pyrunc.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Body = list[Any]

CALL, RETURN, ERROR, SIGNAL = 1, 2, 3, 4
_PATH, _INTERFACE, _MEMBER, _ERROR_NAME, _REPLY_SERIAL, _DESTINATION, _SIGNATURE = 1, 2, 3, 4, 5, 6, 8
_FIXED = {"y": "B", "n": "h", "q": "H", "i": "i", "u": "I", "x": "q", "t": "Q", "d": "d"}
_SIZES = {"y": 1, "n": 2, "q": 2, "i": 4, "b": 4, "u": 4, "x": 8, "t": 8, "d": 8}
_ALIGNMENTS = {**_SIZES, "s": 4, "o": 4, "g": 1, "v": 1, "a": 4, "(": 8, "{": 8}
_LONGEST = 1 << 27  # bytes of a message, by the specification


def split(signature: str) -> list[str]:
    """The complete types of a signature: "a(ss)u" is ["a(ss)", "u"]."""
    found = []
    start = at = depth = 0
    while at < len(signature):
        kind = signature[at]
        depth += (kind in "({") - (kind in ")}")
        at += 1
        if depth == 0 and kind != "a":
            found.append(signature[start:at])
            start = at
    return found


def marshal(signature: str, values: Body, start: int = 0) -> bytes:
    """``values`` as little-endian bytes. ``start``: where they come to stand, for the alignment.

    An array is a list, a struct and a dictionary's entry a tuple, a variant (signature, value).
    """
    out = bytearray(start)
    for kind, value in zip(split(signature), values, strict=True):
        _put(out, kind, value)
    return bytes(out[start:])


def _pad(out: bytearray, kind: str) -> None:
    out += bytes(-len(out) % _ALIGNMENTS[kind[0]])


def _put(out: bytearray, kind: str, value: Any) -> None:
    _pad(out, kind)
    first = kind[0]
    if first in _FIXED:
        out += _struct.pack("<" + _FIXED[first], value)
    elif first == "b":
        out += _struct.pack("<I", bool(value))
    elif first in "so":
        text = value.encode()
        out += _struct.pack("<I", len(text)) + text + b"\0"
    elif first == "g":
        out += bytes([len(value)]) + value.encode() + b"\0"
    elif first == "v":
        _put(out, "g", value[0])
        _put(out, *value)
    elif first == "a":
        at = len(out)
        out += bytes(4)
        _pad(out, kind[1])
        begin = len(out)
        for item in value:
            _put(out, kind[1:], item)
        out[at : at + 4] = _struct.pack("<I", len(out) - begin)
    else:
        for inner, item in zip(split(kind[1:-1]), value, strict=True):
            _put(out, inner, item)


def unmarshal(signature: str, data: bytes, at: int = 0) -> Body:
    """The values that stand at ``at`` in ``data``; raises ValueError for what is no such bytes."""
    try:
        found = []
        for kind in split(signature):
            value, at = _get(data, at, kind)
            found.append(value)
        return found
    except (_struct.error, IndexError, KeyError, UnicodeDecodeError):  # type: ignore[attr-defined]
        raise ValueError("not a message of D-Bus") from None


def _get(data: bytes, at: int, kind: str) -> tuple[Any, int]:
    at += -at % _ALIGNMENTS[kind[0]]
    first = kind[0]
    if first in _FIXED:
        return _struct.unpack_from("<" + _FIXED[first], data, at)[0], at + _SIZES[first]
    if first == "b":
        return bool(_struct.unpack_from("<I", data, at)[0]), at + 4
    if first in "so":
        end = at + 4 + int(_struct.unpack_from("<I", data, at)[0])
        return data[at + 4 : end].decode(), end + 1
    if first == "g":
        end = at + 1 + data[at]
        return data[at + 1 : end].decode(), end + 1
    if first == "v":
        inner, at = _get(data, at, "g")
        return _get(data, at, inner)
    items = []
    if first == "a":
        size = int(_struct.unpack_from("<I", data, at)[0])
        at += 4
        at += -at % _ALIGNMENTS[kind[1]]
        end = at + size
        while at < end:
            item, at = _get(data, at, kind[1:])
            items.append(item)
        return items, at
    for inner in split(kind[1:-1]):
        item, at = _get(data, at, inner)
        items.append(item)
    return tuple(items), at


def call_message(
    serial: int, destination: str, path: str, interface: str, member: str, signature: str, body: Body
) -> bytes:
    """A method call, ready to be sent. destination: "" on a connection without a bus."""
    fields: list[Any] = [
        (_PATH, ("o", path)),
        (_INTERFACE, ("s", interface)),
        (_MEMBER, ("s", member)),
    ]
    if destination:
        fields.append((_DESTINATION, ("s", destination)))
    if signature:
        fields.append((_SIGNATURE, ("g", signature)))
    content = marshal(signature, body)
    head = marshal("yyyyuua(yv)", [ord("l"), CALL, 0, 1, len(content), serial, fields])
    return head + bytes(-len(head) % 8) + content


class Message:
    """One message that came in."""

    __slots__ = ("kind", "member", "error", "reply_to", "body")

    def __init__(self, data: bytes) -> None:
        _, self.kind, _, _, _, _, fields = unmarshal("yyyyuua(yv)", data)
        known = dict(fields)
        self.member: str = known.get(_MEMBER, "")
        self.error: str = known.get(_ERROR_NAME, "")
        self.reply_to: int = known.get(_REPLY_SERIAL, 0)
        size = int(_struct.unpack_from("<I", data, 4)[0])
        self.body: Body = unmarshal(known.get(_SIGNATURE, ""), data[len(data) - size :])


class Refusal(Exception):
    """An error reply. ``name``: org.freedesktop.systemd1.UnitExists and the like."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name
        self.text = text


class Connection:
    """To a bus, or straight to a service (systemd's own socket), as the user that we are.

    Raises OSError when nobody answers there; later failures are Errors.
    """

    def __init__(self, address: str, bus: bool, seconds: float = 30) -> None:
        self.address = address
        self.destination = "org.freedesktop.systemd1" if bus else ""
        self.signals: list[Message] = []
        self._serial = 0
        self._buffer = b""
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self._socket.settimeout(seconds)
        try:
            # A path that begins with @ is an abstract one.
            self._socket.connect("\0" + address[1:] if address[:1] == "@" else address)
            self._authenticate()
        except BaseException:
            self._socket.close()
            raise
        if bus:
            self._call(
                "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello", "", []
            )

    def _authenticate(self) -> None:
        """EXTERNAL without a name: in a user namespace we don't know our uid by the peer's count.

        BEGIN goes out before the answer, as systemd's own library does it: systemd overlooks a call that
        it reads together with BEGIN until more comes.
        """
        self._socket.sendall(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")
        answer = self._line()
        if answer.startswith(b"DATA"):
            answer = self._line()
        if not answer.startswith(b"OK"):
            raise ConnectionRefusedError(111, "authentication refused")

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            self._fill()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def _fill(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionResetError(104, "closed")
        self._buffer += data

    def call(self, path: str, interface: str, member: str, signature: str, body: Body) -> Body:
        """A call of systemd's and its answer; raises Refusal, Error."""
        return self._call(self.destination, path, interface, member, signature, body)

    def _call(
        self, destination: str, path: str, interface: str, member: str, signature: str, body: Body
    ) -> Body:
        self._serial += 1
        message = call_message(self._serial, destination, path, interface, member, signature, body)
        try:
            self._socket.sendall(message)
            while True:
                answer = self._receive()
                if answer.kind == SIGNAL:
                    self.signals.append(answer)
                elif answer.reply_to == self._serial:
                    break
        except (OSError, ValueError) as error:
            raise self._broken(member, error) from None
        if answer.kind == ERROR:
            raise Refusal(answer.error, str(answer.body[0]) if answer.body else answer.error)
        return answer.body

    def add_match(self, rule: str) -> None:
        """Ask the bus for signals."""
        bus = "org.freedesktop.DBus"
        self._call(bus, "/org/freedesktop/DBus", bus, "AddMatch", "s", [rule])

    def wait_signal(self, member: str) -> Body:
        """The body of the next signal of that name; raises Error after the limit of time."""
        try:
            while True:
                message = self.signals.pop(0) if self.signals else self._receive()
                if message.kind == SIGNAL and message.member == member:
                    return message.body
        except (OSError, ValueError) as error:
            raise self._broken(member, error) from None

    def _receive(self) -> Message:
        while len(self._buffer) < 16:
            self._fill()
        body, _, fields = _struct.unpack_from("<III", self._buffer, 4)
        size = 16 + fields + -fields % 8 + body
        if self._buffer[:1] != b"l" or size > _LONGEST:
            raise ValueError("not a message of D-Bus")
        while len(self._buffer) < size:
            self._fill()
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return Message(data)

    def _broken(self, member: str, error: Exception) -> Error:
        number = error.errno or 0 if isinstance(error, OSError) else 0
        late = isinstance(error, TimeoutError)
        return Error(
            f"systemd {'does not answer' if late else 'broke off'}: {member}",
            code="systemd",
            step="systemd",
            subject=self.address,
            errno=number,
            hint="see whether `systemctl` answers; without --systemd-cgroup systemd isn't asked",
        )

    def close(self) -> None:
        self._socket.close()
