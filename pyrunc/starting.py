"""`start`: releases pyrunc-init over its socket and learns whether execve worked."""

from __future__ import annotations

import _socket
import posix

from pyrunc import protocol, timeline
from pyrunc import state_directory as states
from pyrunc.errors import Error, WrongStatus
from pyrunc.lifecycle import status_of

TYPE_CHECKING = False
if TYPE_CHECKING:
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
        after_start(state)
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
    """poststart hooks. From 1.3 on one that fails ends the container; before, it is a warning."""
    from pyrunc.destroy import destroy, poststop, remembered

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
            if not spec.at_least(3):
                warn(fact(error))
                continue
            state.lock()
            if not state.gone():
                poststop(destroy(state), state)
            raise


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
    agent = _agent(state) if state.record.get("notifies") else None
    if timeline.recorder is not None:
        _trace_steps(state)
    try:
        try:
            protocol.say(connection, protocol.START, int(timeline.recorder is not None))
        except (BrokenPipeError, ConnectionResetError):
            pass  # it is gone, which is heard next
        failed = protocol.await_exec(connection, lambda fd: _hand_over(state, agent, fd))
    except Error as error:
        if error.code == "init-vanished":
            from pyrunc.explain import examine_death
            from pyrunc.lifecycle import cgroup_of

            examine_death(error, cgroup_of(state))
        raise
    if failed:
        raise _failed(state, failed)


def _await_end(state: State) -> None:
    """Init ends when nobody listens any more. Who hears of the failure finds a stopped container."""
    from pyrunc.processes import open_pidfd, wait_end

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


def _agent(state: State) -> tuple[Spec, _socket.socket]:
    """The configuration, and a connection to the seccomp agent that it names."""
    from pyrunc.listener import connect

    spec = state.config()
    return spec, connect(spec)


def _hand_over(state: State, agent: tuple[Spec, _socket.socket] | None, fd: int) -> None:
    """An agent that doesn't take the listener leaves a program that nobody answers: it is ended."""
    from pyrunc.destroy import destroy, poststop
    from pyrunc.listener import hand_over

    assert agent is not None
    spec, connection = agent
    try:
        hand_over(connection, spec, state.id, state.record["bundle"], state.record["pid"], fd)
    except Error:
        poststop(destroy(state, spec), state)
        raise


def _failed(state: State, message: protocol.Message) -> Error:
    """The step is known by its number: the plan is compiled again from the remembered configuration."""
    from pyrunc.configuration import recompile
    from pyrunc.destroy import destroy, poststop
    from pyrunc.explain import step_failed
    from pyrunc.plan import opcodes

    plan = recompile(state)
    error = step_failed(plan, message, state.record["pid"])
    if plan.steps[message.step].op == opcodes.HOOK:
        # A failing startContainer hook ends the container (runtime.md, step 7).
        poststop(destroy(state), state)
    return error
