"""The check list: what users do with their engines, each as a small function.

A check takes an engine that runs the runtime under test and fails with an AssertionError. So the
same list can be run for several runtimes, and the outcomes put side by side.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any


class Check:
    """name: what is checked. engines: on which. needs: what the host must have (host.py).
    slow: left out of the short list."""

    def __init__(
        self,
        name: str,
        engines: str,
        function: Callable[[Any], None],
        needs: tuple[Callable[..., str], ...],
        slow: bool,
    ) -> None:
        self.name, self.engines, self.function = name, engines.split(), function
        self.needs, self.slow = needs, slow

    def __call__(self, engine: Any) -> None:
        self.function(engine)


_all: list[Check] = []


def check(
    name: str, engines: str, *needs: Callable[..., str], slow: bool = False
) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Puts a function on the list. engines: the engines' names, with spaces between them."""

    def register(function: Callable[[Any], None]) -> Callable[[Any], None]:
        _all.append(Check(name, engines, function, needs, slow))
        return function

    return register


def checks() -> list[Check]:
    """The whole list, in the order of the modules' and the functions' place."""
    for module in ("lifecycle", "settings", "networks", "more"):
        importlib.import_module(f"{__name__}.{module}")
    for info in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{info.name}")
    return _all
