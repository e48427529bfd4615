"""pyrunc, an OCI runtime: the public Python API.

    import pyrunc
    pyrunc.create("/run/pyrunc", "web", "/bundles/web")
    pyrunc.start("/run/pyrunc", "web")

Nothing is loaded before it is used. The command does not execute this file: its launcher makes
an empty package in its place (see ``_native/launcher.c``).
"""

from __future__ import annotations

from pyrunc.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.errors import (
        AlreadyExists,
        ConfigError,
        Error,
        Fault,
        NotFound,
        TimedOut,
        Usage,
        WrongStatus,
    )
    from pyrunc.lifecycle import (
        containers,
        create,
        delete,
        exec_process,
        kill,
        pause,
        processes,
        resume,
        run,
        start,
        state,
        stats,
        update,
    )

__all__ = [
    "AlreadyExists",
    "ConfigError",
    "Error",
    "Fault",
    "NotFound",
    "TimedOut",
    "Usage",
    "WrongStatus",
    "__version__",
    "containers",
    "create",
    "delete",
    "exec_process",
    "kill",
    "pause",
    "processes",
    "resume",
    "run",
    "start",
    "state",
    "stats",
    "update",
]


def __getattr__(name: str) -> object:
    """Load a name of the public API at its first use (PEP 562). No module may have one of these names."""
    if name not in __all__:
        raise AttributeError(f"module 'pyrunc' has no attribute {name!r}")
    from pyrunc import errors, lifecycle

    found = getattr(errors if hasattr(errors, name) else lifecycle, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
