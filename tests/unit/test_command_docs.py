"""Completion, man pages and docs/commands.md, made from the table of commands."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pyrunc.cli import table

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def docs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("command_docs", ROOT / "scripts" / "command_docs.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def completed(docs: ModuleType, tmp_path: Path, *words: str) -> list[str]:
    """What bash offers for the last word."""
    (tmp_path / "completion").write_text(docs.bash())
    program = tmp_path / "pyrunc"
    program.write_text('#!/bin/sh\n[ "$*" = "--root /r list -q" ] && echo web db\n')
    program.chmod(0o755)
    script = """
    source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _pyrunc
    printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["bash", "-c", script, str(tmp_path / "completion"), "pyrunc", *words],
        capture_output=True, text=True, check=True, cwd=tmp_path, env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
    )  # fmt: skip
    return done.stdout.split()


def test_bash_completes_verbs(docs: ModuleType, tmp_path: Path) -> None:
    assert set(table.VERBS) <= set(completed(docs, tmp_path, ""))
    assert completed(docs, tmp_path, "--log", "x", "--debug", "upd") == ["update"]


@pytest.mark.parametrize("verb", list(table.VERBS))
def test_bash_completes_every_option(docs: ModuleType, tmp_path: Path, verb: str) -> None:
    names = {f"--{option.name}" for option in table.VERBS[verb].options}
    assert names <= set(completed(docs, tmp_path, verb, "--"))


def test_bash_completes_values(docs: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    assert completed(docs, tmp_path, "--log-format", "") == ["text", "json"]
    assert completed(docs, tmp_path, "list", "-f", "j") == ["json"]
    assert completed(docs, tmp_path, "create", "--bundle", "f") == ["folder"]
    assert sorted(completed(docs, tmp_path, "create", "--pid-file", "f")) == ["file", "folder"]
    assert completed(docs, tmp_path, "update", "--memory", "") == []


def test_bash_completes_containers(docs: ModuleType, tmp_path: Path) -> None:
    assert completed(docs, tmp_path, "--root", "/r", "state", "") == ["web", "db"]
    assert completed(docs, tmp_path, "--root", "/r", "kill", "--all", "w") == ["web"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_know_all_options(docs: ModuleType, shell: str) -> None:
    text = getattr(docs, shell)()
    for verb in table.VERBS.values():
        assert verb.name in text
        for option in verb.options:
            assert option.name in text


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_takes_it(docs: ModuleType, shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    file = tmp_path / "completion"
    file.write_text(getattr(docs, shell)())
    subprocess.run([shell, "-n", str(file)], check=True, timeout=20)


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes(docs: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "pyrunc.fish"
    file.write_text(docs.fish())
    ask = f"source {file}; complete -C 'pyrunc chec'; complete -C 'pyrunc list --for'"
    answer = subprocess.run(["fish", "-c", ask], capture_output=True, text=True, check=True, timeout=20)
    assert "--format" in answer.stdout


def test_man_pages(docs: ModuleType) -> None:
    """Each verb has its page, and the first names them all; each option stands in its page."""
    overview = docs.man("pyrunc.1")
    for verb in table.VERBS.values():
        page = docs.man(f"pyrunc-{verb.name}.1")
        assert f"pyrunc\\-{verb.name}".replace("-", "\\-").replace("\\\\", "\\") in overview
        for option in verb.options:
            assert f"\\fB\\-\\-{option.name}".replace("-", "\\-").replace("\\\\", "\\") in page


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")
def test_mandoc_finds_no_fault(docs: ModuleType, tmp_path: Path) -> None:
    for name in docs.man_pages():
        (tmp_path / name).write_text(docs.man(name))
    pages = [str(tmp_path / name) for name in docs.man_pages()]
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", *pages], capture_output=True, text=True)
    # The date is left out, so that a page does not change without its content.
    faults = [line for line in done.stdout.splitlines() if "date" not in line]
    assert not faults


def test_the_reference_is_up_to_date(docs: ModuleType) -> None:
    text = (ROOT / "docs" / "commands.md").read_text()
    assert text == docs.markdown(), "run `make command-docs`"


@pytest.mark.skipif(not (ROOT / ".venv" / "share").is_dir(), reason="pyrunc is not installed by make build")
def test_they_are_installed(docs: ModuleType) -> None:
    share = Path(sys.prefix) / "share"
    assert (share / "bash-completion" / "completions" / "pyrunc.bash").read_text() == docs.bash()
    assert (share / "zsh" / "site-functions" / "_pyrunc").read_text() == docs.zsh()
    assert (share / "fish" / "vendor_completions.d" / "pyrunc.fish").read_text() == docs.fish()
    assert {path.name for path in (share / "man" / "man1").glob("pyrunc*")} == set(docs.man_pages())
