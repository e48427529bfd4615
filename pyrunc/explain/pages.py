"""The pages of the error codes, pyrunc/pages/CODE.md, for `pyrunc explain`.

A page is Markdown: the heading is the code, the first paragraph says what it means, and "Causes and
remedies" is a list.
"""

from __future__ import annotations

import difflib
import json
import textwrap
from pathlib import Path

from pyrunc.cli.terminal import Terminal
from pyrunc.errors import Usage

DIRECTORY = Path(__file__).resolve().parents[1] / "pages"


def codes() -> list[str]:
    """All codes, sorted."""
    return sorted(path.stem for path in DIRECTORY.glob("*.md"))


def text(code: str) -> str:
    """The Markdown of a page. Raises Usage for a code that there is none of."""
    known = codes()
    if code not in known:
        near = difflib.get_close_matches(code, known, 3)
        raise Usage(
            f"no error has the code {code!r}",
            code="usage",
            subject=code,
            hint=f"did you mean {' or '.join(near)}?" if near else "`pyrunc explain` lists them all",
        )
    return (DIRECTORY / f"{code}.md").read_text(encoding="utf-8")


def summary(code: str) -> str:
    """The first sentence of a page."""
    paragraph = text(code).split("\n\n")[1]
    return " ".join(paragraph.split()).partition(". ")[0].removesuffix(".")


def show(code: str, *, as_json: bool, terminal: Terminal) -> str:
    """What `pyrunc explain [CODE]` prints: a page, or the list of all of them."""
    if as_json:
        pages = [{"code": name, "summary": summary(name), "text": text(name)} for name in _wanted(code)]
        return json.dumps(pages[0] if code else pages, indent=2, ensure_ascii=False) + "\n"
    return _page(text(code), terminal) if code else _list(terminal)


def _wanted(code: str) -> list[str]:
    return [code] if code else codes()


def _width(terminal: Terminal) -> int:
    """Long lines are hard to read: no more than 100 characters, however wide the terminal is."""
    return min(terminal.width or 80, 100)


def _list(terminal: Terminal) -> str:
    known = codes()
    column = max(map(len, known)) + 2
    lines = []
    for name in known:
        filled = textwrap.fill(
            summary(name), _width(terminal), initial_indent=name.ljust(column), subsequent_indent=" " * column
        )
        lines.append(terminal.paint(name, "bold") + filled[len(name) :])
    return "\n".join(lines) + "\n"


def _page(page: str, terminal: Terminal) -> str:
    """Markdown as plain text: headings without marks, paragraphs and items filled."""
    width = _width(terminal)
    blocks = []
    for block in page.strip().split("\n\n"):
        if block.startswith("#"):
            blocks.append(terminal.paint(block.lstrip("# "), "bold"))
        elif block.startswith("- "):
            items = [" ".join(item.split()) for item in f"\n{block}".split("\n- ")[1:]]
            blocks.append(
                "\n".join(textwrap.fill(f"- {item}", width, subsequent_indent="  ") for item in items)
            )
        else:
            blocks.append(textwrap.fill(" ".join(block.split()), width))
    return "\n\n".join(blocks) + "\n"
