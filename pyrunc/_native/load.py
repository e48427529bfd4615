"""Loads the compiled module ``_clone`` without searching sys.path.

On the hot path: cffi's backend lies in site-packages, which the launcher keeps off sys.path, and
``importlib.util`` alone would cost more than both modules together.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

NAME = "pyrunc._native._clone"


def clone() -> Any:
    """Return the module ``_clone`` (with ``ffi`` and ``lib``).

    Raises Error (code "install") when it, or cffi, is missing or of another Python's.
    """
    module = sys.modules.get(NAME)
    if module is not None:
        return module
    site_dir: str = getattr(sys.modules["pyrunc"], "site_dir", "")
    if not site_dir:  # imported as a library: sys.path is the caller's, and as usual
        return _imported()
    if "_cffi_backend" not in sys.modules:
        _backend(site_dir)
    return _extension(NAME, site_dir + "/pyrunc/_native/_clone.abi3.so", "pyrunc")


def checked(result: int, syscall: str, path: str = "", subject: str = "") -> int:
    """A result of the C module, or the Error that it means."""
    if result < 0:
        from pyrunc.explain import call_refused

        raise call_refused(syscall, -result, path=path, subject=subject)
    return result


def sites(site_dir: str) -> tuple[str, ...]:
    """Where packages that pyrunc needs may be: beside it, or where Debian's own and its pip put them."""
    local = f"/usr/local/lib/python3.{sys.version_info[1]}/dist-packages"
    return (site_dir, "/usr/lib/python3/dist-packages", local)


def _imported() -> Any:
    try:
        from pyrunc._native import _clone  # type: ignore[attr-defined,unused-ignore]
    except ImportError as error:
        package = "cffi" if error.name == "_cffi_backend" else "pyrunc"
        raise _broken(package, str(error)) from None
    return _clone


def _backend(site_dir: str) -> None:
    """Load cffi's backend."""
    import _imp
    from posix import stat

    for directory in sites(site_dir):
        for suffix in _imp.extension_suffixes():
            path = f"{directory}/_cffi_backend{suffix}"
            try:
                stat(path)
            except OSError:
                continue
            _extension("_cffi_backend", path, "cffi")
            return
    raise _broken("cffi", f"no _cffi_backend for Python 3.{sys.version_info[1]} in {site_dir}")


def _extension(name: str, path: str, package: str) -> ModuleType:
    import _imp
    from _frozen_importlib import ModuleSpec

    spec = ModuleSpec(name, None, origin=path)
    try:
        module = _imp.create_dynamic(spec)
        sys.modules[name] = module
        _imp.exec_dynamic(module)
    except ImportError as error:
        sys.modules.pop(name, None)
        raise _broken(package, str(error)) from None
    return module


def _broken(package: str, reason: str) -> Exception:
    from pyrunc.errors import Error

    return Error(
        f"the Python package {package} is missing or broken: {reason}",
        code="install",
        step="load",
        subject=package,
        hint=f"install {package} for {sys.executable or 'this Python'}, beside pyrunc",
    )
