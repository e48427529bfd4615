"""The hot verbs at work import no more than they need; tests/unit/test_import_budget.py has the rest."""

from __future__ import annotations

from tests.import_budget import check, loaded
from tests.integration.harness import Runtime, pyrunc_only

pytestmark = pyrunc_only


def test_a_whole_life(runtime: Runtime) -> None:
    container = runtime.sleeper()
    container.write()
    root = ("--root", str(runtime.root))
    check(loaded(runtime.tmp, *root, "create", "--bundle", str(container.bundle), container.id))
    check(loaded(runtime.tmp, *root, "start", container.id))
    check(loaded(runtime.tmp, *root, "state", container.id))
    check(loaded(runtime.tmp, *root, "exec", container.id, "/bin/true"))
    check(loaded(runtime.tmp, *root, "kill", container.id, "KILL"))
    container.wait()
    check(loaded(runtime.tmp, *root, "delete", container.id))


def test_run(runtime: Runtime) -> None:
    container = runtime.container("/bin/true")
    container.write()
    check(
        loaded(
            runtime.tmp, "--root", str(runtime.root), "run", "--bundle", str(container.bundle), container.id
        )
    )
