"""Hooks and seccomp."""

from __future__ import annotations

from typing import Any

from tests.failures import Group
from tests.integration.harness import Container

group = Group("Hooks and seccomp")


def hook(container: Container, kind: str, path: str, *args: str, **more: Any) -> None:
    container.config["hooks"] = {kind: [{"path": path, "args": [path, *args], **more}]}


def seccomp(container: Container, **profile: Any) -> None:
    container.config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", **profile}


@group.case(
    "a hook that fails",
    subject="/bin/sh",
    place="hooks.createRuntime[0]",
    cause="exit status 3, output: no driver",
    remedy="the hook itself failed",
    reported="nvidia-docker#1252",
)
def _(container: Container) -> None:
    hook(container, "createRuntime", "/bin/sh", "-c", "echo no driver >&2; exit 3")


@group.case(
    "a hook that is not there",
    subject="/no/such/hook",
    place="hooks.prestart[0]",
    cause="could not be run: no such file or directory",
    remedy="install it on the host",
    reported="podman#16094",
)
def _(container: Container) -> None:
    hook(container, "prestart", "/no/such/hook")


@group.case(
    "a hook that hangs",
    subject="/bin/sleep",
    place="hooks.createRuntime[0]",
    cause="ran into its timeout of 1 s",
    remedy="raise timeout",
)
def _(container: Container) -> None:
    hook(container, "createRuntime", "/bin/sleep", "100", timeout=1)


@group.case(
    "a hook for another processor",
    subject="/bin/sh",
    place="hooks.createRuntime[0]",
    cause="killed by signal 4",
    remedy="built for another processor",
    reported="containerd#11210",
)
def _(container: Container) -> None:
    hook(container, "createRuntime", "/bin/sh", "-c", "kill -ILL $$")


@group.case(
    "a startContainer hook that the container lacks",
    subject="/usr/bin/ldconfig-hook",
    place="hooks.startContainer[0]",
    cause="could not be run: no such file or directory",
    remedy="in the container",
)
def _(container: Container) -> None:
    hook(container, "startContainer", "/usr/bin/ldconfig-hook")


@group.case(
    "a createContainer hook that fails",
    subject="/bin/sh",
    place="hooks.createContainer[0]",
    cause="exit status 9",
    remedy="the hook itself failed",
)
def _(container: Container) -> None:
    hook(container, "createContainer", "/bin/sh", "-c", "exit 9")


@group.case(
    "a relative hook path",
    subject="hook.sh",
    place="hooks.prestart[0].path",
    cause='is "hook.sh"',
    remedy="must be an absolute path",
)
def _(container: Container) -> None:
    hook(container, "prestart", "hook.sh")


@group.case(
    "an unknown seccomp action",
    subject="SCMP_ACT_DENY",
    place="linux.seccomp.defaultAction",
    cause="is not a known value",
    remedy="SCMP_ACT_ERRNO",
)
def _(container: Container) -> None:
    seccomp(container, defaultAction="SCMP_ACT_DENY")


@group.case(
    "an unknown architecture of a filter",
    subject="SCMP_ARCH_AMD64",
    place="linux.seccomp.architectures[0]",
    cause="is not a known value",
    remedy="did you mean",
)
def _(container: Container) -> None:
    seccomp(container, architectures=["SCMP_ARCH_AMD64"])


@group.case(
    "a seccomp agent that does not listen",
    subject="/nobody.sock",
    place="linux.seccomp.listenerPath",
    cause="does not exist",
    remedy="start the agent before",
)
def _(container: Container) -> None:
    rule = {"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}
    seccomp(container, listenerPath="/nobody.sock", syscalls=[rule])


@group.case(
    "a filter that forbids execve",
    subject='"/bin/sh"',
    place="process.args",
    cause="operation not permitted",
    remedy="the filter of linux.seccomp forbids execve",
)
def _(container: Container) -> None:
    seccomp(container, syscalls=[{"names": ["execve"], "action": "SCMP_ACT_ERRNO"}])
