"""Colour and width: only where a person looks."""

from __future__ import annotations

import os
import pty
from collections.abc import Iterator

import pytest

from pyrunc.cli.terminal import Terminal


@pytest.fixture
def tty() -> Iterator[int]:
    master, slave = pty.openpty()
    yield slave
    os.close(master)
    os.close(slave)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def test_a_terminal_has_colour(tty: int) -> None:
    assert Terminal(tty).paint("x", "bold", "red") == "\x1b[1;31mx\x1b[0m"


def test_a_pipe_has_neither_colour_nor_width() -> None:
    reader, writer = os.pipe()
    terminal = Terminal(writer)
    assert terminal.paint("x", "red") == "x"
    assert terminal.wrap("word " * 100, "  ", "- ") == "- " + "word " * 100
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_colour_where_it_is_not_wanted(
    name: str, value: str, tty: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert not Terminal(tty).colour


def test_an_empty_no_color_says_nothing(tty: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "")
    assert Terminal(tty).colour


def test_columns_decides_the_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    lines = Terminal(0).wrap("word " * 30, "  ", "- ").splitlines()
    assert lines[0].startswith("- ") and lines[1].startswith("  ")
    assert max(map(len, lines)) <= 30


def test_what_is_no_width_is_no_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "wide")
    reader, writer = os.pipe()
    assert Terminal(writer).width == 0
    os.close(reader)
    os.close(writer)
