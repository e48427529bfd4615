"""`run`: create and start in one go; in the foreground also wait and delete."""

from __future__ import annotations

import posix

from pyrunc import timeline
from pyrunc.configuration import config_error, read_config
from pyrunc.creation import create_container
from pyrunc.destroy import destroy, poststop
from pyrunc.lifecycle import explain_death
from pyrunc.spec import Refused
from pyrunc.starting import after_start, await_readiness

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

    from pyrunc.activation import Readiness
    from pyrunc.creation import Created, Options
    from pyrunc.foreground import Foreground
    from pyrunc.spec import Spec


def run_container(
    root: str,
    id: str,
    bundle: str,
    options: Options,
    detach: bool,
    keep: bool,
    signals: bool,
    timeout: float | None,
) -> int:
    """The exit status of the program; 0 when it goes on in the background."""
    spec = read_config(bundle)
    if detach:
        created = create_container(root, id, spec, options, direct=True)
        try:
            readiness = _start(created)
        finally:
            created.close()
        if readiness:
            readiness.pass_on()
        return 0
    from pyrunc.foreground import Foreground

    foreground = Foreground(signals)
    ours, theirs = _terminal(spec, options)
    master = -1
    try:
        created = create_container(root, id, spec, options, theirs.fileno() if theirs else -1, direct=True)
        if theirs:
            theirs.close()
        try:
            if ours:
                master = _master(created, ours)
            readiness = _start(created)
            if readiness:
                import _thread

                _thread.start_new_thread(readiness.follow, ())
            return _wait(created, foreground, master, keep, timeout)
        finally:
            created.close()
    finally:
        for socket in (ours, theirs):
            if socket:
                socket.close()
        if master >= 0:
            posix.close(master)


def _wait(created: Created, foreground: Foreground, master: int, keep: bool, timeout: float | None) -> int:
    # Others may look at it, stop it, delete it while we wait.
    created.state.unlock()
    try:
        return foreground.wait(created.init.pid, created.init.pidfd, master, timeout)
    except BaseException:
        created.init.end()
        raise
    finally:
        created.state.record["pid"] = 0  # reaped
        if not keep:
            _delete(created)


def _terminal(spec: Spec, options: Options) -> tuple[_socket.socket | None, _socket.socket | None]:
    """A pair of sockets over which init sends the terminal's master, if it has one."""
    if options.console_socket:
        return None, None
    try:
        if not spec.process.flag("terminal"):
            return None, None
    except Refused as refused:
        raise config_error(spec.source, spec.bundle, refused) from None
    from pyrunc.launch import stream_pair

    return stream_pair()


def _master(created: Created, console: _socket.socket) -> int:
    """The terminal's master, from init."""
    from pyrunc.foreground import receive_master

    try:
        return receive_master(console)
    except BaseException:
        created.undo()
        raise


def _start(created: Created) -> Readiness | None:
    """START. Whatever goes wrong, the container is undone."""
    state, init = created.state, created.init
    readiness = None
    try:
        readiness = await_readiness(state)
        init.start(_agent(created) if init.plan.notifies else posix.close)
        state.record["status"] = "running"
        state.save()
        after_start(state, created.spec)
    except BaseException as error:
        if readiness:
            readiness.close()
        explain_death(error, state)
        created.undo()
        raise
    timeline.started()
    return readiness


def _agent(created: Created) -> Callable[[int], None]:
    from pyrunc.listener import receiver

    return receiver(created.spec, created.state)


def _delete(created: Created) -> None:
    """As `delete` would, unless somebody else already has."""
    state = created.state
    state.lock()
    if not state.gone():
        poststop(destroy(state, created.spec), state)
