"""Ways in which a container fails to start, as users have met them.

Each is a Case: how to bring it about, and what pyrunc's message must name. The integration tests check
pyrunc's; scripts/errors_compared.py sets those of runc and crun beside them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from tests.integration.harness import Container

# In the order of docs/errors-compared.md
GROUPS = ("program", "process", "mounts", "namespaces", "cgroups", "hooks", "document", "runtime", "nested")


@dataclass(frozen=True)
class Case:
    """One way to fail.

    title: what is wrong. prepare: brings it about in a bundle that would work.
    subject, place, cause, remedy: texts of pyrunc's message: what it is about, where that is asked for (a
    JSON path, or an option), why it fails, what to do.
    reported: who met it, as repository#number.
    verb: run, create, start (of what create made) or exec (in a running container).
    options: of the verb; prefix: a command around the runtime; arguments: of exec.
    """

    title: str
    prepare: Callable[[Container], None]
    subject: str
    place: str
    cause: str
    remedy: str
    reported: str = ""
    verb: str = "run"
    options: tuple[str, ...] = ()
    prefix: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()

    def fail(self, container: Container) -> str:
        """Bring it about; what the runtime said."""
        self.prepare(container)
        if self.verb == "run":
            return container.run(*self.options, prefix=self.prefix).failed().stderr
        if self.verb == "create":
            return container.create(*self.options).failed().stderr
        if self.verb == "exec":
            return container.exec(*self.arguments, options=self.options).failed().stderr
        return container.start().failed().stderr


class Group:
    """The cases of one module, added by its decorator."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.cases: list[Case] = []

    def case(
        self, title: str, *, subject: str, place: str, cause: str, remedy: str, **more: object
    ) -> Callable[[Callable[[Container], None]], Callable[[Container], None]]:
        """Make a Case of a function that prepares it."""

        def add(prepare: Callable[[Container], None]) -> Callable[[Container], None]:
            self.cases.append(Case(title, prepare, subject, place, cause, remedy, **more))  # type: ignore[arg-type]
            return prepare

        return add


def groups() -> list[Group]:
    """All groups of cases."""
    return [importlib.import_module(f"tests.failures.{name}").group for name in GROUPS]


def cases() -> list[Case]:
    """All cases."""
    return [case for group in groups() for case in group.cases]
