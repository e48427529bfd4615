"""Do the tests notice a broken pyrunc? Each mutant is a copy of the installed package with one change.
A change of the C is made in a copy of the sources, and built as the package's own was.

The test that is named for a mutant runs with it as the runtime, and must fail; with a copy that has no
change it must pass. `make mutation` calls it; MUTATION=1 does so elsewhere.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration import harness
from tests.mutation.c_mutants import C_MUTANTS
from tests.mutation.mutants import MUTANTS, Mutant

pytestmark = pytest.mark.skipif("MUTATION" not in os.environ, reason="a run of its own: make mutation")
ALL = (*MUTANTS, *C_MUTANTS)
TESTS = Path(__file__).parents[1]
BUILT_FROM = ("meson.build", "build.py", "pyproject.toml", "pyrunc", "contrib", "scripts/command_docs.py")


def copy(tmp: Path) -> Path:
    """The installed package as it is, at another place; without the bundle and the snapshot, files count."""
    prefix = Path(harness.PROGRAM).resolve().parents[1]
    (source,) = prefix.glob("lib/python3*/site-packages/pyrunc")
    target = tmp / source.relative_to(prefix)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.bundle", "*.snapshot", "__pycache__"))
    for other in source.parent.iterdir():  # what the slow leaves import
        if other != source:
            (target.parent / other.name).symlink_to(other)
    (tmp / "bin").mkdir(parents=True)
    shutil.copy2(harness.PROGRAM, tmp / "bin" / "pyrunc")
    return target


def mutate(file: Path, mutant: Mutant) -> None:
    text = file.read_text()
    assert text.count(mutant.old) == 1, f"{mutant.file} has changed: {mutant.old!r}"
    file.write_text(text.replace(mutant.old, mutant.new))


def build(tmp: Path, mutant: Mutant, package: Path) -> None:
    """The program or module that a file of C belongs to, into the package."""
    for name in BUILT_FROM:
        source, target = harness.REPO / name, tmp / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, target)
    mutate(tmp / "pyrunc" / mutant.file, mutant)
    name = "_clone.abi3.so" if mutant.file == "_native/clone.c" else "pyrunc-init"
    tools = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    for command in (["meson", "setup", "-Dwerror=false", "out"], ["ninja", "-C", "out", name]):
        done = subprocess.run(
            command, cwd=tmp, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stdout
    shutil.copy2(tmp / "out" / name, package / "_native" / name)


def run(tmp: Path, tests: list[str]) -> subprocess.CompletedProcess[str]:
    paths = [str(TESTS / test) for test in tests]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *paths],
        env={**os.environ, "OCI_RUNTIME": str(tmp / "bin" / "pyrunc")},
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        timeout=900,  # all of them, on a busy machine
        check=False,
    )


def test_the_tests_pass_with_an_unchanged_copy(tmp_path: Path) -> None:
    copy(tmp_path)
    done = run(tmp_path, sorted({mutant.tests for mutant in ALL}))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("mutant", ALL, ids=lambda mutant: mutant.name)
def test_a_mutant_is_caught(tmp_path: Path, mutant: Mutant) -> None:
    package = copy(tmp_path / "installed")
    if mutant.file.endswith(".c"):
        build(tmp_path / "source", mutant, package)
    else:
        mutate(package / mutant.file, mutant)
    done = run(tmp_path / "installed", [mutant.tests])
    assert done.returncode == 1, f"not noticed:\n{done.stdout}"
