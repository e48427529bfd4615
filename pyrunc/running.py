"""`run`: create and start in one go; in the foreground also wait and delete."""

from __future__ import annotations

import posix

from pyrunc import timeline
from pyrunc.configuration import config_error, read_config
from pyrunc.creation import create_container
from pyrunc.destroy import destroy, poststop
from pyrunc.errors import Error
from pyrunc.spec import Refused
from pyrunc.starting import after_start, await_readiness

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from pyrunc.activation import Readiness
    from pyrunc.creation import Created, Options
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
        readiness, _ = _start(created)
        created.close()
        if readiness:
            readiness.pass_on()
        return 0
    from pyrunc.foreground import Foreground

    foreground = Foreground(signals)
    ours, theirs = _terminal(spec, options)
    created = create_container(root, id, spec, options, theirs.fileno() if theirs else -1, direct=True)
    if theirs:
        theirs.close()
    readiness, master = _start(created, ours)
    if readiness:
        import _thread

        _thread.start_new_thread(readiness.wait, (None,))
    # Others may look at it, stop it, delete it while we wait.
    created.state.unlock()
    try:
        try:
            status = foreground.wait(created.init.pid, created.init.pidfd, master, timeout)
        except BaseException:
            created.init.end()
            raise
        finally:
            created.state.record["pid"] = 0  # reaped
            if not keep:
                _delete(created)
        return status
    finally:
        created.close()
        if master >= 0:
            posix.close(master)


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


def _start(created: Created, console: _socket.socket | None = None) -> tuple[Readiness | None, int]:
    """START; also the terminal's master, -1 without one. Whatever goes wrong, the container is undone."""
    state, init = created.state, created.init
    master = -1
    try:
        if console:
            from pyrunc.foreground import receive_master

            master = receive_master(console)
            console.close()
        readiness = await_readiness(state)
        agent = _agent(created) if init.plan.notifies else None
        init.start(lambda fd: _hand_over(created, agent, fd))
        state.record["status"] = "running"
        state.save()
    except BaseException as error:
        if isinstance(error, Error) and error.code == "init-vanished":
            from pyrunc.explain import examine_death
            from pyrunc.lifecycle import cgroup_of

            examine_death(error, cgroup_of(state))
        init.end()
        init.close()
        poststop(destroy(state, created.spec), state)
        raise
    after_start(state, created.spec)
    timeline.started()
    return readiness, master


def _agent(created: Created) -> _socket.socket:
    from pyrunc.listener import connect

    return connect(created.spec)


def _hand_over(created: Created, agent: _socket.socket | None, fd: int) -> None:
    from pyrunc.listener import hand_over

    assert agent is not None
    hand_over(agent, created.spec, created.state.id, created.spec.bundle, created.init.pid, fd)


def _delete(created: Created) -> None:
    """As `delete` would, unless somebody else already has."""
    state = created.state
    state.lock()
    if not state.gone():
        poststop(destroy(state, created.spec), state)
