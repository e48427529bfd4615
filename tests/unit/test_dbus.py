"""D-Bus as the systemd driver speaks it, against bytes that systemd and its library sent."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from pyrunc.cgroup.dbus import (
    RETURN,
    Connection,
    Message,
    Refusal,
    call_message,
    marshal,
    split,
    unmarshal,
)
from pyrunc.errors import Error

# Recorded on a socket of systemd 257: a call of SetUnitProperties, its answer, and what follows a job.
SET_PROPERTIES = (
    b"l\1\0\1@\0\0\0\1\0\0\0\205\0\0\0\1\1o\0\31\0\0\0/org/freedesktop/systemd1\0\0\0\0\0\0\0\2\1s\0"
    b" \0\0\0org.freedesktop.systemd1.Manager\0\0\0\0\0\0\0\0\3\1s\0\21\0\0\0SetUnitProperties\0\0\0\0\0\0\0"
    b"\10\1g\0\7sba(sv)\0\0\0\0\17\0\0\0pyrunc-t1.scope\0\1\0\0\0 \0\0\0\0\0\0\0\t\0\0\0MemoryMax\0\1t\0"
    b"\0\0\0\0\0\0\0\0\341\365\5\0\0\0\0"
)
ANSWER = (
    b"l\2\1\1\0\0\0\0\1\0\0\0)\0\0\0\5\1u\0\1\0\0\0\7\1s\0\30\0\0\0org.freedesktop.systemd1\0\0\0\0\0\0\0\0"
)


def test_a_call_is_what_systemd_understood() -> None:
    body = ["pyrunc-t1.scope", True, [("MemoryMax", ("t", 100000000))]]
    path, interface = "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"
    assert call_message(1, "", path, interface, "SetUnitProperties", "sba(sv)", body) == SET_PROPERTIES


def test_an_answer_is_understood() -> None:
    answer = Message(ANSWER)
    assert (answer.kind, answer.reply_to, answer.body) == (RETURN, 1, [])


@pytest.mark.parametrize(
    ("signature", "parts"),
    [
        ("ssa(sv)a(sa(sv))", ["s", "s", "a(sv)", "a(sa(sv))"]),
        ("aayu", ["aay", "u"]),
        ("a{sv}b", ["a{sv}", "b"]),
    ],
)
def test_types_of_a_signature(signature: str, parts: list[str]) -> None:
    assert split(signature) == parts


@pytest.mark.parametrize(
    ("signature", "values"),
    [
        ("s", ["ü"]),
        ("ybt", [7, True, 1 << 63]),
        ("au", [[1, 2, 3]]),
        ("a(ss)", [[("/dev/char/1:3", "rw"), ("char-*", "m")]]),
        ("a{sas}", [[("a", ["b", "c"])]]),
        ("ay", [[1, 2, 255]]),
        ("xd", [-5, 0.5]),
    ],
)
@pytest.mark.parametrize("start", [0, 1, 4])
def test_values_come_back(signature: str, values: list[Any], start: int) -> None:
    data = bytes(start) + marshal(signature, values, start)
    assert unmarshal(signature, data, start) == values


def test_layout_of_an_array_of_structs() -> None:
    """Padding before the first element isn't counted in the array's length."""
    assert marshal("a(yt)", [[(1, 2)]]) == bytes.fromhex(
        "10000000 00000000 0100000000000000 0200000000000000"
    )


def test_bytes_that_are_no_message() -> None:
    with pytest.raises(ValueError, match="D-Bus"):
        unmarshal("s", b"\xff\0\0")


class Service:
    """A peer that authenticates and then sends what it is given, one answer for each call."""

    def __init__(self, path: Path, *answers: bytes, data_first: bool = True, ends: bool = True) -> None:
        self.answers, self.data_first, self.ends = answers, data_first, ends
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.heard = b""
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self) -> None:
        peer, _ = self.listener.accept()
        with peer, self.listener:
            while b"BEGIN\r\n" not in self.heard:
                self.heard += peer.recv(4096)
            peer.sendall((b"DATA\r\n" if self.data_first else b"") + b"OK 1234\r\n")
            for answer in self.answers:
                peer.recv(65536)
                peer.sendall(answer)
            peer.shutdown(socket.SHUT_WR) if self.ends else peer.recv(1)


@pytest.mark.parametrize("data_first", [True, False])
def test_a_call_over_a_socket(tmp_path: Path, data_first: bool) -> None:
    service = Service(tmp_path / "s", ANSWER, data_first=data_first)
    connection = Connection(str(tmp_path / "s"), bus=False)
    assert connection.call("/", "a.b", "Member", "", []) == []
    connection.close()
    service.thread.join()
    assert service.heard.startswith(b"\0AUTH EXTERNAL\r\n")


def error_answer(name: str, text: str) -> bytes:
    body = marshal("s", [text])
    head = marshal(
        "yyyyuua(yv)", [108, 3, 1, 1, len(body), 1, [(4, ("s", name)), (5, ("u", 1)), (8, ("g", "s"))]]
    )
    return head + bytes(-len(head) % 8) + body


def test_an_error_has_its_name(tmp_path: Path) -> None:
    service = Service(tmp_path / "s", error_answer("org.freedesktop.systemd1.UnitExists", "was there"))
    connection = Connection(str(tmp_path / "s"), bus=False)
    with pytest.raises(Refusal, match="was there") as refusal:
        connection.call("/", "a.b", "Member", "", [])
    assert refusal.value.name.endswith("UnitExists")
    connection.close()
    service.thread.join()


def test_a_service_that_goes_away_is_an_error(tmp_path: Path) -> None:
    service = Service(tmp_path / "s", b"")
    connection = Connection(str(tmp_path / "s"), bus=False)
    with pytest.raises(Error, match="broke off"):
        connection.call("/", "a.b", "Member", "", [])
    connection.close()
    service.thread.join()


def test_a_service_that_never_answers_is_an_error(tmp_path: Path) -> None:
    service = Service(tmp_path / "s", ANSWER[:20], ends=False)
    connection = Connection(str(tmp_path / "s"), bus=False, seconds=0.2)
    with pytest.raises(Error, match="does not answer"):
        connection.call("/", "a.b", "Member", "", [])
    connection.close()
    service.thread.join()
