"""Where the program begins and ends."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import gc
import posix
import sys

from pyrunc.cli import parse, report
from pyrunc.errors import Error
from pyrunc.spec import normal_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


# Verbs that need no directory for the state of containers.
_STATELESS = ("snapshot", "explain", "spec", "validate", "plan", "doctor")


def main(argv: list[str]) -> NoReturn:
    """Runs the command line ``argv`` (without the program's name) and exits."""
    gc.disable()  # The process lives for milliseconds; what it makes dies with it.
    # Who ignores it never learns how a child ended; and a caller may have left it so.
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
    status = 1
    try:
        status = run(argv)
    finally:
        posix._exit(status)


def run(argv: list[str]) -> int:
    """Runs the command line and reports what goes wrong; the exit status."""
    failed = 1
    debug = False
    try:
        parsed = parse.parse(argv)
        if parsed is None:
            _open_log_for_usage(argv)
            from pyrunc.cli import help

            explained = help.parse(argv)
            if isinstance(explained, int):
                return explained
            parsed = explained
        if parsed.verb == "exec":
            failed = 255  # So a caller tells it from an exit status of the process.
        given = parsed.globals
        debug = given["debug"]
        report.open_log(given["log"], given["log_format"], debug)

        from pyrunc.cli import verbs

        if given["version"]:
            return verbs.version()
        root = "" if parsed.verb in _STATELESS else state_root(given["root"])
        verb = verbs.VERBS[parsed.verb]
        if parsed.options.get("trace"):
            from pyrunc.trace import traced

            return traced(verb, root, parsed)
        return verb(root, parsed)
    except Error as error:
        report.fail(error)
    except KeyboardInterrupt:
        return 130
    except BaseException as error:
        report.fail(_system(error) or _internal(error, debug))
    return failed


def _open_log_for_usage(argv: list[str]) -> None:
    """Opens the log if at least the global options are right: engines read errors from there."""
    given = parse.globals_of(argv)
    if given is not None:
        report.open_log(given["log"], given["log_format"], given["debug"])


def _system(error: BaseException) -> Error | None:
    """The kernel refused something that it always grants: the disk, memory or the table of files is full."""
    if isinstance(error, MemoryError):
        return Error(
            "there is no memory left", code="system", errno=12, hint="free memory, or raise the limit"
        )
    if isinstance(error, ImportError):
        what = f"a part of pyrunc can't be loaded: {error.name}"
        return Error(what, code="install", hint="install pyrunc again, unless files can't be read at all")
    if not isinstance(error, OSError):
        return None
    subject = str(error.filename or "")
    return Error(
        "a system call failed" + (f" for {subject}" if subject else ""),
        code="system",
        subject=subject,
        errno=error.errno or 0,
    )


def _internal(error: BaseException, debug: bool) -> Error:
    """What to say of an exception that nobody expected."""
    what = " ".join(f"{type(error).__name__}: {error}".split())
    if not debug:
        hint = "this is a bug in pyrunc; rerun with --debug before the verb to see where"
        return Error(f"internal error: {what}", code="internal", hint=hint)
    import traceback

    report.write(2, "".join(traceback.format_exception(error)))
    return Error(
        f"internal error: {what}",
        code="internal",
        hint="this is a bug in pyrunc; please report it with the traceback on standard error",
    )


def enable_site() -> None:
    """Makes the packages that only slow leaves need importable."""
    from pyrunc._native.load import sites

    site = sys.modules["pyrunc"].__path__[0].rpartition("/")[0]
    if site:
        sys.path += [directory for directory in sites(site) if directory not in sys.path]


def absolute(path: str) -> str:
    """A path of the command line, without ".", ".." and double slashes."""
    if not path.startswith("/"):
        try:
            path = f"{posix.getcwd()}/{path}"
        except OSError as error:
            raise report.from_os_error("current directory", error) from error
    return normal_path(path)


def state_root(given: str) -> str:
    """The directory that holds the state of all containers: --root or a default.

    Root of a user namespace (rootless Podman) is told from root of the machine, as runc does.
    """
    if given:
        root = absolute(given)
        if root == "/":
            raise Error("--root must not be /", code="root", hint="give a directory of its own to --root")
        return root
    runtime = posix.environ.get(b"XDG_RUNTIME_DIR", b"")
    if posix.geteuid() == 0:
        from pyrunc.process import in_user_namespace

        rootless = runtime and posix.environ.get(b"USER") != b"root" and in_user_namespace()
        if not rootless:
            return "/run/pyrunc"
    if not runtime:
        raise Error(
            "no directory for the state of containers",
            code="root",
            hint="set XDG_RUNTIME_DIR, or give a directory with --root before the verb",
        )
    return absolute(runtime.decode("utf-8", "surrogateescape")) + "/pyrunc"
