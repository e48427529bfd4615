"""Every error has a code, and every code a page; docs/errors has the same pages."""

from __future__ import annotations

import ast
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from pyrunc.cli.terminal import Terminal
from pyrunc.errors import Usage
from pyrunc.explain import pages
from pyrunc.plan import opcodes

ROOT = Path(__file__).resolve().parents[2]
PAGES = {path.stem: path.read_text() for path in (ROOT / "pyrunc" / "pages").glob("*.md")}
ERRORS = {"Error", "NotFound", "AlreadyExists", "WrongStatus", "Usage"}
STEPS = {f"step-{name.lower().replace('_', '-')}" for name in opcodes.NAMES.values()}


def sources() -> Iterator[tuple[Path, ast.AST]]:
    for path in sorted((ROOT / "pyrunc").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            yield path, node


def texts(node: ast.AST) -> set[str]:
    """The texts that an expression can be; those of an f-string are left out."""
    if isinstance(node, ast.Constant):
        return {node.value} if isinstance(node.value, str) and node.value else set()
    if isinstance(node, ast.IfExp):
        return texts(node.body) | texts(node.orelse)
    return set()


def used() -> set[str]:
    """The codes in the source: of keywords, and of defaults of parameters that are called code."""
    found = set(STEPS)
    for _, node in sources():
        if isinstance(node, ast.keyword) and node.arg == "code":
            found |= texts(node.value)
        if isinstance(node, ast.FunctionDef):
            arguments = [*node.args.args, *node.args.kwonlyargs]
            defaults = [*node.args.defaults, *node.args.kw_defaults]
            for argument, default in zip(reversed(arguments), reversed(defaults), strict=False):
                if argument.arg == "code" and default is not None:
                    found |= texts(default)
    return found


def test_every_code_has_a_page_and_every_page_a_code() -> None:
    missing, unused = used() - PAGES.keys(), PAGES.keys() - used()
    assert not missing, f"write pyrunc/pages/CODE.md for {sorted(missing)}, then `make error-docs`"
    assert not unused, f"no error has the code of {sorted(unused)}: remove these pages"


def test_every_error_has_a_code() -> None:
    for path, node in sources():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS:
            given = {keyword.arg for keyword in node.keywords}
            assert "code" in given or None in given, f"{path}:{node.lineno}: an error without a code"


@pytest.mark.parametrize("code", sorted(PAGES))
def test_a_page_says_what_it_means_and_what_to_do(code: str) -> None:
    heading, meaning, remedies, items = PAGES[code].strip().split("\n\n", 3)
    assert heading == f"# {code}"
    assert meaning.endswith(".")
    assert remedies == "## Causes and remedies"
    assert items.startswith("- ")


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_documentation_has_the_same_pages() -> None:
    there = {path.name: path.read_text() for path in (ROOT / "docs" / "errors").glob("*.md")}
    assert there == script("error_docs").documents(), "run `make error-docs`"


def terminal(colour: bool = False) -> Terminal:
    made = Terminal()
    made.colour, made.width = colour, 0
    return made


def test_explain_lists_all_codes() -> None:
    shown = pages.show("", as_json=False, terminal=terminal())
    assert {line.split()[0] for line in shown.splitlines() if not line.startswith(" ")} == set(PAGES)
    assert "\033" not in shown


def test_explain_shows_a_page() -> None:
    shown = pages.show("execve", as_json=False, terminal=terminal())
    assert shown.startswith("execve\n")
    assert "CRLF" in shown and "#" not in shown.partition("\n")[0]
    assert max(map(len, shown.splitlines())) <= 80


def test_colour_is_for_terminals() -> None:
    assert "[1mexecve" in pages.show("execve", as_json=False, terminal=terminal(colour=True))


def test_explain_as_json() -> None:
    answer = json.loads(pages.show("clone", as_json=True, terminal=terminal()))
    assert answer["code"] == "clone"
    assert answer["text"] == PAGES["clone"]
    assert len(json.loads(pages.show("", as_json=True, terminal=terminal()))) == len(PAGES)


def test_an_unknown_code_gets_the_nearest_one() -> None:
    with pytest.raises(Usage) as caught:
        pages.show("execv", as_json=False, terminal=terminal())
    assert "execve" in caught.value.hint
