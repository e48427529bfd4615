"""Which engines there are, and how they are run for a runtime."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .checks import Check
from .cri import Cri
from .engine import REPO, Containerd, Docker, Engine, Podman
from .sandbox import Sandbox

RUNTIME = Path(os.environ.get("OCI_RUNTIME") or REPO / ".venv" / "bin" / "pyrunc")
if "/" not in str(RUNTIME):
    RUNTIME = Path(shutil.which(str(RUNTIME)) or RUNTIME)

ENGINES: dict[str, type[Engine]] = {kind.name: kind for kind in (Podman, Docker, Containerd, Cri)}


class Running:
    """Engines of one runtime; each is started when it is first asked for, the one before is ended."""

    def __init__(self, runtime: Path) -> None:
        self.runtime = runtime
        self.engine: Engine | None = None

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self.engine:
            self.engine.sandbox.close()
            self.engine = None

    def __getitem__(self, name: str) -> Engine:
        if not self.engine or self.engine.name != name:
            self.__exit__()
            sandbox = Sandbox(self.runtime)
            try:
                self.engine = ENGINES[name](sandbox)
            except BaseException:
                sandbox.close()
                raise
        return self.engine


def lacking(check: Check, engine: Engine) -> str:
    """What this host lacks for the check; empty if nothing."""
    return next((reason for need in check.needs if (reason := need(engine.sandbox))), "")
