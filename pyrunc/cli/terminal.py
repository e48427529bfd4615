"""Text for people: colour only on a terminal, lines no wider than it. Slow leaf."""

from __future__ import annotations

import os
import textwrap

_COLOURS = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36", "bold": "1", "dim": "2"}


class Terminal:
    """What a file descriptor can show.

    colour: it is a terminal, and nothing (NO_COLOR, TERM=dumb) speaks against colour.
    width: of COLUMNS or of the terminal, in characters; 0 for text that goes elsewhere: don't wrap it.
    """

    __slots__ = ("colour", "width")

    def __init__(self, fd: int = 1) -> None:
        terminal = os.isatty(fd)
        plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        self.colour = terminal and not plain
        self.width = _width(fd if terminal else -1)

    def paint(self, text: str, *colours: str) -> str:
        """The text in colours (names of _COLOURS); as it is where there are none."""
        if not self.colour or not text:
            return text
        return f"\x1b[{';'.join(_COLOURS[name] for name in colours)}m{text}\x1b[0m"

    def wrap(self, text: str, indent: str = "", first: str = "") -> str:
        """Lines that fit; ``first`` starts the first one, ``indent`` all others. No colour may be in it."""
        if not self.width:
            return first + text
        width = max(self.width, len(indent) + 20)
        lines = textwrap.wrap(
            text,
            width,
            initial_indent=first,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        return "\n".join(lines) or first


def _width(fd: int) -> int:
    columns = os.environ.get("COLUMNS", "")
    if columns.isascii() and columns.isdigit() and int(columns):
        return int(columns)
    if fd < 0:
        return 0
    try:
        return os.get_terminal_size(fd).columns
    except OSError:
        return 80
