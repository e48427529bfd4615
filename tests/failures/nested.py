"""An outer container, or a user without privileges."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.failures import Group
from tests.integration import deny_call
from tests.integration.harness import Container, user_namespace

group = Group("In an outer container, without privileges")
DENY = (sys.executable, str(Path(deny_call.__file__)))


@group.case(
    "hidden parts of /proc",
    subject="/proc",
    place="mounts[0]",
    cause="parts of /proc are hidden here (/proc/cpuinfo)",
    remedy="unmask=/proc/*",
    reported="podman#20453",
    prefix=("unshare", "-m", "sh", "-c", 'mount --bind /dev/null /proc/cpuinfo && exec "$@"', "sh"),
)
def _(container: Container) -> None:
    user_namespace(container.config)


def denied(call: str, since: str, reported: str = "") -> None:
    """One of the calls that older profiles don't know."""

    @group.case(
        f"a profile that denies {call}",
        subject=call,
        place="profile of the outer container",
        cause=f"{call} is in Linux {since} and later, so a seccomp filter",
        remedy=f"allow {call}",
        reported=reported,
        prefix=(*DENY, call, "EPERM"),
    )
    def _(container: Container) -> None:
        pass


denied("clone3", "5.3", "moby#42680")
denied("openat2", "5.6")
denied("open_tree", "5.2")
denied("fsopen", "5.2")
denied("move_mount", "5.2")
denied("mount_setattr", "5.12")
denied("close_range", "5.11")
denied("memfd_create", "3.17")


@group.case(
    "a keyring that is denied",
    subject="keyring",
    place="--no-new-keyring",
    cause="keyctl",
    remedy="give --no-new-keyring, or allow keyctl",
    reported="crun#402",
    prefix=(*DENY, "keyctl", "EPERM"),
)
def _(container: Container) -> None:
    pass


@group.case(
    "too few open files",
    subject="open files",
    place="ulimit -n",
    cause="allows it 8 open files",
    remedy="raise ulimit -n",
    prefix=("sh", "-c", 'ulimit -n 8; exec "$@"', "sh"),
)
def _(container: Container) -> None:
    pass


# Root without capabilities: as good as any other user, but for what it owns.
NO_CAPABILITY = ("setpriv", "--inh-caps=-all", "--bounding-set=-all")
UNPRIVILEGED = (*NO_CAPABILITY[:2], "--bounding-set=-all,+dac_override")


@group.case(
    "a state root of another user",
    subject="/state",
    place="--root",
    cause="may not be written by this user",
    remedy="another --root",
    reported="runc#2018",
    prefix=NO_CAPABILITY,
)
def _(container: Container) -> None:
    container.runtime.root.mkdir()
    os.chown(container.runtime.root, 1000, 1000)


@group.case(
    "no user namespace for an unprivileged user",
    subject="the container's process",
    place="linux.namespaces",
    cause="new namespaces need CAP_SYS_ADMIN",
    remedy="add a user namespace to linux.namespaces",
    reported="crun#1198",
    prefix=UNPRIVILEGED,
)
def _(container: Container) -> None:
    container.config["linux"]["resources"] = {}
