"""Writes docs/conformance.md, from tests/obligations.py and the markers `spec` on the tests.

conformance_doc.py FILE
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

REPO = Path(__file__).resolve().parents[1]
INTRODUCTION = """\
# Conformance

What the [runtime-spec](https://github.com/opencontainers/runtime-spec) 1.3 asks of a runtime, and the \
tests that show it. `make conformance-doc` writes this file from the markers on the tests. A test fails when \
it is out of date, or when nothing shows an entry. `make conformance` runs the programs of runtime-tools.

The ids of obligations are those of `tests/obligations.py`. Properties have their path in `config.json`.
"""
DIFFERENCES = """\
## Where others differ

Where the spec leaves no choice and pyrunc does what it says, but runc (1.5), crun (1.29) or youki (0.7) \
does not, as far as their sources tell. *as pyrunc*: does it too. [differences.md](differences.md) has the \
reasons for pyrunc's own choices.
"""


def obligations() -> ModuleType:
    spec = importlib.util.spec_from_file_location("obligations", REPO / "tests" / "obligations.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def marked() -> dict[str, list[tuple[str, str]]]:
    """Id → (file below tests/, name) of each test that has it."""
    found: dict[str, list[tuple[str, str]]] = {}
    for file in sorted((REPO / "tests").rglob("test_*.py")):
        name = str(file.relative_to(REPO / "tests"))
        tree = ast.parse(file.read_text())
        everywhere = [
            id
            for node in tree.body
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "pytestmark"
            for id in ids(node.value)
        ]
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                own = [id for decorator in node.decorator_list for id in ids(decorator)]
                for id in dict.fromkeys([*everywhere, *own]):
                    found.setdefault(id, []).append((name, node.name))
    return found


def ids(node: ast.expr) -> list[str]:
    """The arguments of pytest.mark.spec(...); none for another expression."""
    if isinstance(node, ast.List):
        return [id for item in node.elts for id in ids(item)]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "spec":
        return [str(argument.value) for argument in node.args if isinstance(argument, ast.Constant)]
    return []


def page() -> str:
    """The whole text."""
    words = obligations()
    tests = marked()
    lines = [INTRODUCTION]
    for title, entries in words.OBLIGATIONS.items():
        lines += [f"## {title}\n", "| id | what | tests |", "| --- | --- | --- |"]
        for id, what in entries.items():
            lines.append(f"| {escaped(id)} | {what} | {links(tests.get(id, []))} |")
        lines.append("")
    lines += [DIFFERENCES, "| | runc | crun | youki |", "| --- | --- | --- | --- |"]
    for what, *others in words.DIFFERENCES:
        lines.append(f"| {what} | {' | '.join(other or 'as pyrunc' for other in others)} |")
    return "\n".join(lines) + "\n"


def escaped(id: str) -> str:
    return id if id.isupper() or "-" in id[:3] else f"`{id}`"


def links(tests: list[tuple[str, str]]) -> str:
    """The tests of one entry, by file; of many in one file only the first two by name."""
    files: dict[str, list[str]] = {}
    for file, name in tests:
        files.setdefault(file, []).append(name.removeprefix("test_"))
    parts = []
    for file, names in files.items():
        more = f" and {len(names) - 2} more" if len(names) > 2 else ""
        parts.append(f"[{file}](../tests/{file}): {', '.join(names[:2])}{more}")
    return "<br>".join(parts)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page())
