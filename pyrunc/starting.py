"""`start`: releases pyrunc-init over its socket and learns whether execve worked."""

from __future__ import annotations

import _socket
import posix

from pyrunc import protocol, timeline
from pyrunc import state_directory as states
from pyrunc.errors import Error, WrongStatus
from pyrunc.lifecycle import explain_death, status_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrunc.activation import Readiness
    from pyrunc.spec import Spec
    from pyrunc.state_directory import State

_PATIENCE = 2_000  # milliseconds


def start_container(root: str, id: str) -> None:
    """Start a created container; any other status is an error without effect."""
    readiness = None
    state = states.load(root, id, lock=True)
    try:
        _check(state)
        readiness = await_readiness(state)
        connection = _connect(state)
        try:
            _release(state, connection)
        except BaseException:
            connection.close()
            _await_end(state)
            raise
        connection.close()
        timeline.phase("record that it runs")
        state.record["status"] = "running"
        state.save()
        posix.unlink("start.sock", dir_fd=state.fd)
        try:
            after_start(state)
        except Error:
            from pyrunc.destroy import undo

            undo(state)
            raise
    except BaseException:
        if readiness:
            readiness.close()
        raise
    finally:
        state.close()
    # Without the lock: whoever wants to end a container that is never ready can do so.
    if readiness:
        readiness.pass_on()


def await_readiness(state: State) -> Readiness | None:
    """The container's notify socket, where the caller of create had one."""
    if "notify" not in state.record.get("activation", ()):
        return None
    from pyrunc.activation import Readiness

    return Readiness(state)


def after_start(state: State, spec: Spec | None = None) -> None:
    """poststart hooks. From 1.3 on one that fails is to end the container: raises Error. Before, it is a
    warning.
    """
    from pyrunc.destroy import remembered

    spec = spec or remembered(state)
    if spec is None or not spec.child("hooks").children("poststart"):
        return
    from pyrunc.cli.report import fact, warn
    from pyrunc.hooks import run_hook

    timeline.phase("poststart hooks", "hooks.poststart")
    state.unlock()  # whoever wants to end the container need not wait for them
    for hook in spec.child("hooks").children("poststart"):
        record = state.record
        try:
            run_hook(spec, hook, "poststart", state.id, "running", record["pid"], record["bundle"])
        except Error as error:
            if spec.at_least(3):
                raise
            warn(fact(error))


def _check(state: State) -> None:
    status = status_of(state)
    if status == "created":
        return
    text = {
        "running": "cannot start an already running container",
        "stopped": "cannot start a container that has stopped",
    }.get(status, f"cannot start a container that is {status}")
    from pyrunc.explain.statuses import start_hint

    raise WrongStatus(text, code="not-created", subject=state.id, hint=start_hint(state, status))


def _connect(state: State) -> _socket.socket:
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    try:
        connection.connect(f"/proc/self/fd/{state.fd}/start.sock")
    except OSError as error:
        connection.close()
        raise Error(
            "the container's init does not answer",
            code="init-vanished",
            step="start",
            syscall="connect",
            errno=error.errno or 0,
            hint="delete --force removes what is left of the container",
        ) from None
    return connection


def _release(state: State, connection: _socket.socket) -> None:
    """START, until the program runs."""
    agent = _agent(state) if state.record.get("notifies") else posix.close  # none will come
    if timeline.recorder is not None:
        _trace_steps(state)
    try:
        try:
            protocol.say(connection, protocol.START, int(timeline.recorder is not None))
        except (BrokenPipeError, ConnectionResetError):
            pass  # it is gone, which is heard next
        failed = protocol.await_exec(connection, agent)
    except Error as error:
        explain_death(error, state)
        raise
    if failed:
        raise _failed(state, failed)


def _await_end(state: State) -> None:
    """Init ends when nobody listens any more. Who hears of the failure finds a stopped container."""
    from pyrunc.process import open_pidfd, wait_end

    pidfd = open_pidfd(state.record["pid"], state.record["start_time"])
    if pidfd >= 0:
        wait_end(pidfd, _PATIENCE)
        posix.close(pidfd)


def _trace_steps(state: State) -> None:
    """Steps are known by number: for a trace the plan is compiled again."""
    from pyrunc.configuration import recompile

    assert timeline.recorder is not None
    timeline.recorder.plan = recompile(state)
    timeline.phase("start")


def _agent(state: State) -> Callable[[int], None]:
    """Hands the listener to the seccomp agent. One that doesn't take it leaves a program that nobody answers:
    it is ended.
    """
    from pyrunc.destroy import undo
    from pyrunc.listener import receiver

    spec = state.config()
    agent = receiver(spec, state)

    def hand_over(fd: int) -> None:
        try:
            agent(fd)
        except Error:
            undo(state, spec)
            raise

    return hand_over


def _failed(state: State, message: protocol.Message) -> Error:
    """The step is known by its number: the plan is compiled again from the remembered configuration."""
    from pyrunc.configuration import recompile
    from pyrunc.destroy import undo
    from pyrunc.explain import step_failed
    from pyrunc.plan import opcodes

    plan = recompile(state)
    error = step_failed(plan, message, state.record["pid"])
    if plan.steps[message.step].op == opcodes.HOOK:
        # A failing startContainer hook ends the container (runtime.md, step 7).
        undo(state)
    return error
