"""bin/pyrunc finds its package and an interpreter, and changes nothing else on the way."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LAUNCHER = Path(sys.executable).parent / "pyrunc"
MINOR = sys.version_info[1]

MAIN = """
import sys
def main(argv):
    import json, os
    print(json.dumps({
        "argv": argv,
        "site": sys.modules["pyrunc"].site_dir,
        "path": sys.path,
        "flags": [sys.flags.isolated, sys.flags.no_site, sys.flags.utf8_mode],
        "environment": dict(os.environ),
        "executable": sys.executable,
        "fds": sorted(int(fd) for fd in os.listdir("/proc/self/fd")),
    }), file=open(os.environ["OUTPUT"], "w"))
"""

pytestmark = pytest.mark.skipif(not LAUNCHER.exists(), reason="needs make build")


def install(prefix: Path, site: str) -> Path:
    """Lay out a package and a launcher under a prefix; return the launcher."""
    package = prefix / site / "pyrunc"
    (package / "cli").mkdir(parents=True)
    (package / "version.py").touch()
    (package / "cli" / "__init__.py").touch()
    (package / "cli" / "main.py").write_text(MAIN)
    (prefix / "bin").mkdir(exist_ok=True)
    return Path(shutil.copy(LAUNCHER, prefix / "bin" / "pyrunc"))


def launch(launcher: Path, *args: str, shell: str = "") -> dict[str, object]:
    output = launcher.parent / "output"
    environment = {"OUTPUT": str(output), "PYTHONPATH": "/nowhere", "PYTHONHOME": "/nowhere"}
    command = ["/bin/sh", "-c", f'"$0" "$@" {shell}', str(launcher), *args]
    subprocess.run(command, check=True, env=environment)
    result: dict[str, object] = json.loads(output.read_text())
    return result


@pytest.mark.parametrize(
    "site",
    [
        f"lib/python3.{MINOR}/site-packages",
        f"lib64/python3.{MINOR}/site-packages",
        f"lib/python3.{MINOR}/dist-packages",
        f"local/lib/python3.{MINOR}/dist-packages",
        "lib/python3/dist-packages",
    ],
)
def test_finds_its_package(tmp_path: Path, site: str) -> None:
    told = launch(install(tmp_path, site), "run", "", "a b", "--x=é")
    assert told["argv"] == ["run", "", "a b", "--x=é"]
    assert told["site"] == str(tmp_path / site)
    assert told["flags"] == [1, 1, 1]
    assert str(tmp_path / site) not in str(told["path"])


def test_through_a_symbolic_link(tmp_path: Path) -> None:
    launcher = install(tmp_path / "real", f"lib/python3.{MINOR}/site-packages")
    (tmp_path / "link").symlink_to(launcher)
    assert str(launch_link(tmp_path / "link")["site"]).startswith(str(tmp_path / "real"))


def launch_link(link: Path) -> dict[str, object]:
    return launch(link, "state")


def test_environment_is_unchanged_and_ignored(tmp_path: Path) -> None:
    told = launch(install(tmp_path, f"lib/python3.{MINOR}/site-packages"))
    environment = told["environment"]
    assert isinstance(environment, dict)
    assert environment["PYTHONPATH"] == environment["PYTHONHOME"] == "/nowhere"
    assert "/nowhere" not in str(told["path"])


def test_closed_standard_streams_are_opened(tmp_path: Path) -> None:
    launcher = install(tmp_path, f"lib/python3.{MINOR}/site-packages")
    told = launch(launcher, shell="<&- >&- 2>&-")
    fds = told["fds"]
    assert isinstance(fds, list)
    # 3 is the result file, 4 the directory that is being listed: nothing leaks from the launcher.
    assert fds == [0, 1, 2, 3] or fds == [0, 1, 2, 3, 4]


def test_other_version_uses_the_interpreter_beside_it(tmp_path: Path) -> None:
    other = 16 if MINOR != 16 else 15
    launcher = install(tmp_path, f"lib/python3.{other}/site-packages")
    real = os.path.realpath(sys.executable)
    (tmp_path / "bin" / f"python3.{other}").symlink_to(real)
    told = launch(launcher, "list")
    assert told["executable"] == real


def test_many_arguments(tmp_path: Path) -> None:
    launcher = install(tmp_path, f"lib/python3.{MINOR}/site-packages")
    many = [str(number) for number in range(20000)]
    assert launch(launcher, *many)["argv"] == many


def test_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    launcher = shutil.copy(LAUNCHER, tmp_path / "bin" / "pyrunc")
    done = subprocess.run([launcher], capture_output=True, text=True)
    if done.returncode == 0:
        pytest.skip("pyrunc is installed for the whole system")
    assert done.returncode == 1
    assert "the Python package pyrunc" in done.stderr and str(tmp_path) in done.stderr
