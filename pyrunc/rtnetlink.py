"""The little of rtnetlink(7) that moving a network device needs."""

from __future__ import annotations

import _socket
import _struct
import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    # (family, prefix length, attributes by IFA_*)
    Address = tuple[int, int, list[tuple[int, bytes]]]

_HEADER = _struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_LINK = _struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, change
_ADDRESS = _struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix length, flags, scope, index
_ATTRIBUTE = _struct.Struct("=HH")  # rtattr: length, type

_ERROR, _DONE = 2, 3  # NLMSG_*
_REQUEST, _ACK, _EXCL, _DUMP, _CREATE = 0x001, 0x004, 0x200, 0x300, 0x400  # NLM_F_*
_NEWLINK, _GETLINK, _SETLINK, _NEWADDR, _GETADDR = 16, 18, 19, 20, 22  # RTM_*
_IFNAME, _NET_NS_FD = 3, 28  # IFLA_*
_UP = 1  # IFF_UP

# IFA_*: what an address is. Its label holds the old name, its flags are a state in part.
_LOCAL, _IFA_ADDRESS, _BROADCAST, _ANYCAST, _FLAGS, _PRIORITY = 2, 1, 4, 5, 8, 9
_KEPT = (_LOCAL, _IFA_ADDRESS, _BROADCAST, _ANYCAST, _PRIORITY)
_PERMANENT = 0x80
_KEPT_FLAGS = 0x02 | 0x10 | 0x100 | 0x200  # IFA_F_NODAD, HOMEADDRESS, MANAGETEMPADDR, NOPREFIXROUTE
_UNIVERSE = 0  # RT_SCOPE_UNIVERSE


class Netlink:
    """A socket to the kernel's network configuration of one namespace. Calls raise OSError."""

    __slots__ = ("socket", "sequence", "namespace")

    def __init__(self, namespace: int = -1) -> None:
        """``namespace``: a descriptor of this thread's namespace, which is closed with the socket."""
        kind = _socket.SOCK_RAW | _socket.SOCK_CLOEXEC
        self.socket = _socket.socket(_socket.AF_NETLINK, kind, _socket.NETLINK_ROUTE)
        self.sequence = 0
        self.namespace = namespace

    def close(self) -> None:
        self.socket.close()
        if self.namespace >= 0:
            posix.close(self.namespace)

    def links(self) -> dict[int, str]:
        """The names of all devices, by index."""
        found = {}
        for body in self._ask(_GETLINK, _DUMP, _LINK.pack(0, 0, 0, 0, 0)):
            names = [value for kind, value in parse(body[_LINK.size :]) if kind == _IFNAME]
            found[_LINK.unpack_from(body)[2]] = names[0].rstrip(b"\0").decode() if names else ""
        return found

    def is_up(self, index: int) -> bool:
        (body,) = self._ask(_GETLINK, 0, _LINK.pack(0, 0, index, 0, 0))
        return bool(_LINK.unpack_from(body)[3] & _UP)

    def addresses(self, index: int) -> list[Address]:
        """Addresses of a device that are permanent and of global scope, of every family."""
        found = []
        for body in self._ask(_GETADDR, _DUMP, _ADDRESS.pack(0, 0, 0, 0, 0)):
            if _ADDRESS.unpack_from(body)[4] == index:
                address = lasting(body)
                if address is not None:
                    found.append(address)
        return found

    def add_address(self, index: int, address: Address) -> None:
        family, prefix, attributes = address
        body = _ADDRESS.pack(family, prefix, 0, _UNIVERSE, index) + b"".join(
            attribute(kind, value) for kind, value in attributes
        )
        self._ask(_NEWADDR, _CREATE | _EXCL | _ACK, body)

    def move(self, index: int, namespace: int, name: str) -> None:
        """Into another network namespace, by its descriptor, and under a name there."""
        body = _LINK.pack(0, 0, index, 0, 0)
        body += attribute(_NET_NS_FD, _struct.pack("=i", namespace))
        body += attribute(_IFNAME, name.encode() + b"\0")
        self._ask(_SETLINK, _ACK, body)

    def set_up(self, index: int) -> None:
        self._ask(_SETLINK, _ACK, _LINK.pack(0, 0, index, _UP, _UP))

    def _ask(self, kind: int, flags: int, body: bytes) -> list[bytes]:
        """Send one request; the bodies of the answers."""
        self.sequence += 1
        size = _HEADER.size + len(body)
        header = _HEADER.pack(size, kind, flags | _REQUEST, self.sequence, 0)
        self.socket.send(header + body)
        answers: list[bytes] = []
        while True:
            for answer, number in messages(self.socket.recv(1 << 16)):
                if answer == _DONE:
                    return answers
                if answer == _ERROR:
                    code = -_struct.unpack_from("=i", number)[0]
                    if code:
                        raise OSError(code, posix.strerror(code))
                    return answers
                answers.append(number)
            if not flags & (_DUMP | _ACK):
                return answers


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, body) of each message of a datagram."""
    at = 0
    while at + _HEADER.size <= len(data):
        size, kind = _HEADER.unpack_from(data, at)[:2]
        yield kind, data[at + _HEADER.size : at + size]
        at += size + 3 & ~3


def attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def parse(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, value) of each attribute."""
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, at)
        yield kind, data[at + _ATTRIBUTE.size : at + size]
        at += size + 3 & ~3


def lasting(body: bytes) -> Address | None:
    """An address from the answer of RTM_GETADDR, if it is one that a device keeps over a move."""
    family, prefix, flags, scope, _ = _ADDRESS.unpack_from(body)
    found = dict(parse(body[_ADDRESS.size :]))
    if _FLAGS in found:  # the eight bits of the header are not all
        flags = _struct.unpack("=I", found[_FLAGS])[0]
    if scope != _UNIVERSE or not flags & _PERMANENT:
        return None
    kept = [(kind, found[kind]) for kind in _KEPT if kind in found]
    return family, prefix, [*kept, (_FLAGS, _struct.pack("=I", flags & _KEPT_FLAGS))]
