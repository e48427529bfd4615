"""Which addresses a network device keeps over a move."""

from __future__ import annotations

import struct

import pytest

from pyrunc import rtnetlink

INET, INET6 = 2, 10


def body(family: int, flags: int, scope: int, *attributes: tuple[int, bytes]) -> bytes:
    text = b"".join(rtnetlink.attribute(kind, value) for kind, value in attributes)
    return struct.pack("=BBBBI", family, 24, flags, scope, 3) + text


@pytest.mark.parametrize(
    ("flags", "scope", "kept"),
    [(0x80, 0, True), (0x00, 0, False), (0x80, 253, False), (0x80, 254, False), (0x81, 0, True)],
)
def test_only_permanent_addresses_of_global_scope(flags: int, scope: int, kept: bool) -> None:
    found = rtnetlink.lasting(body(INET, flags, scope, (1, b"\xc0\0\2\5"), (2, b"\xc0\0\2\5")))
    assert (found is not None) == kept


def test_the_label_is_left_behind_and_the_state_of_an_address_too() -> None:
    """The label is the old name; 0x40 (tentative) and 0x80 (permanent) are for the kernel to say."""
    flags = struct.pack("=I", 0x80 | 0x40 | 0x200)
    found = rtnetlink.lasting(
        body(INET6, 0x80, 0, (1, bytes(16)), (3, b"eth0\0"), (8, flags), (9, b"\1\0\0\0"))
    )
    assert found is not None
    family, prefix, attributes = found
    assert (family, prefix) == (INET6, 24)
    assert attributes == [(1, bytes(16)), (9, b"\1\0\0\0"), (8, struct.pack("=I", 0x200))]


def test_attributes_are_padded_to_four_bytes() -> None:
    text = rtnetlink.attribute(3, b"abc\0x") + rtnetlink.attribute(4, b"yz")
    assert len(text) == 12 + 8
    assert list(rtnetlink.parse(text)) == [(3, b"abc\0x"), (4, b"yz")]


def test_messages_of_one_datagram() -> None:
    header = struct.Struct("=IHHII")
    data = header.pack(16 + 5, 16, 0, 1, 0) + b"12345" + bytes(3) + header.pack(16, 3, 0, 1, 0)
    assert list(rtnetlink.messages(data)) == [(16, b"12345"), (3, b"")]
