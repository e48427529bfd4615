"""What the built files are hardened with, read from them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import pyrunc._native

NATIVE = Path(pyrunc._native.__file__).parent
MODULE = NATIVE / "_clone.abi3.so"
INIT = NATIVE / "pyrunc-init"
LAUNCHER = NATIVE.parents[4] / "bin" / "pyrunc"
FILES = [MODULE, INIT, LAUNCHER]

pytestmark = pytest.mark.skipif(shutil.which("readelf") is None, reason="needs readelf")


def readelf(file: Path, *options: str) -> str:
    return subprocess.run(
        ["readelf", "-W", *options, str(file)], capture_output=True, text=True, check=True
    ).stdout


def segments(file: Path) -> list[tuple[str, str]]:
    """(type, flags) of each program header."""
    line = re.compile(r"^ +([A-Z_]+) +(?:0x[0-9a-f]+ +){5}([RWE ]{3})")
    return [found.groups() for row in readelf(file, "-l").splitlines() if (found := line.match(row))]  # type: ignore[misc]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_memory_is_writable_and_executable(file: Path) -> None:
    found = segments(file)
    assert [kind for kind, _ in found].count("LOAD") >= 1
    assert [kind for kind, flags in found if "W" in flags and "E" in flags] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_stack_is_not_executable(file: Path) -> None:
    assert [flags for kind, flags in segments(file) if kind == "GNU_STACK"] == ["RW "]


def test_the_module_is_bound_before_it_runs() -> None:
    """Full RELRO: its table of functions is read-only by then."""
    assert "GNU_RELRO" in [kind for kind, _ in segments(MODULE)]
    assert re.search(r"\(FLAGS(_1)?\).*(BIND_NOW|NOW)", readelf(MODULE, "-d"))


def test_the_module_has_the_guards_of_the_c_library() -> None:
    symbols = readelf(MODULE, "--dyn-syms")
    assert "__stack_chk_fail" in symbols
    assert "__snprintf_chk" in symbols


@pytest.mark.parametrize("file", [INIT, LAUNCHER], ids=lambda file: file.name)
def test_programs_load_nothing(file: Path) -> None:
    """Static, with no interpreter, no library, no relocation: nothing that an image could stand in for."""
    kinds = [kind for kind, _ in segments(file)]
    assert "INTERP" not in kinds and "DYNAMIC" not in kinds
    assert "There are no relocations" in readelf(file, "-r")


def test_init_is_small() -> None:
    """It is what the container's memory is charged for, and what has to be read to be trusted."""
    assert INIT.stat().st_size < 100_000


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_path_is_searched_for_libraries(file: Path) -> None:
    assert not re.search(r"\((RPATH|RUNPATH)\)", readelf(file, "-d"))
