"""Fixtures. `runtime` is what most integration tests start from.

def test_it(runtime):
    container = runtime.sh("echo hello")
    assert container.run().ok().stdout == "hello\\n"
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import harness


def pytest_configure() -> None:
    """SIGTERM, as of timeout(1), ends the tests as Ctrl-C does: with the fixtures' clean-up."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A root filesystem of busybox, made once; bundles get a copy of links."""
    made = harness.make_rootfs(tmp_path_factory.mktemp("busybox") / "rootfs")
    program = made / "bin/busybox"
    before = program.read_bytes(), program.stat().st_mode, program.stat().st_uid
    yield made
    after = program.read_bytes(), program.stat().st_mode, program.stat().st_uid
    assert before == after, "a test has changed the program of all of them"


@pytest.fixture
def runtime(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[harness.Runtime]:
    """The runtime under test; its containers are gone after the test, even if it failed."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if shutil.which(harness.PROGRAM) is None:
        pytest.skip(f"{harness.PROGRAM} is not there: run make, or set OCI_RUNTIME")
    tmp_path.chmod(0o755)  # a user namespace's root must get through to the bundle
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    runtime = harness.Runtime(tmp_path, request.getfixturevalue("rootfs"))
    yield runtime
    runtime.clean()
