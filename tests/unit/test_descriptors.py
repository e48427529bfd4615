"""Sockets of the caller's."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from pyrunc import descriptors
from pyrunc.errors import Error


def test_a_console_socket_that_nobody_takes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its queue is full: connect(2) would wait for ever."""
    monkeypatch.setattr(descriptors, "_PATIENCE", 1)
    path = str(tmp_path / "console")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(path)
        listener.listen(0)
        first.connect(path)
        with pytest.raises(Error) as caught:
            descriptors.connect_console(path)
    assert caught.value.code == "console-socket"
