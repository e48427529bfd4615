"""The mounts of a host that shares them, as systemd's hosts do, are the same before and after."""

from __future__ import annotations

import itertools

import pytest

from tests.integration.harness import Container, Runtime, peers_differ, user_namespace
from tests.security.attack import add_mount, own_directory

# A tree of mounts that is shared; what the command does to the mounts is seen in the end.
WATCHED = """
mount -t tmpfs outer "$0" && mkdir "$0/inner" && mount -t tmpfs inner "$0/inner" || exit 99
mount --make-rshared /
before=$(cat /proc/self/mountinfo)
"$@"
test "$before" = "$(cat /proc/self/mountinfo)" || { echo the mounts have changed >&2; exit 98; }
"""
PROPAGATIONS = ("", "shared", "slave", "private", "rshared", "rslave", "rprivate")


def bound(runtime: Runtime, source: str, options: list[str], *args: str) -> Container:
    container = runtime.container(*args)
    add_mount(container, "/host", type="bind", source=source, options=options)
    return container


def watched(container: Container, source: str) -> tuple[int, str]:
    prefix = ("unshare", "-m", "--propagation", "private", "sh", "-c", WATCHED, source)
    answer = container.run(prefix=prefix)
    return answer.status, answer.stderr


@pytest.mark.parametrize(
    ("bind", "propagation", "root"), list(itertools.product(("bind", "rbind"), PROPAGATIONS, (False, True)))
)
def test_a_bind_takes_no_mount_of_the_host_along(
    runtime: Runtime, bind: str, propagation: str, root: bool
) -> None:
    """root: all of the host, as monitoring has it."""
    own = str(own_directory(runtime.container("true"), "tree"))
    options = [option for option in (bind, propagation) if option]
    container = bound(runtime, "/" if root else own, options, "true")
    if propagation.startswith(("shared", "rshared")):
        container.config["linux"]["rootfsPropagation"] = propagation
    assert watched(container, own) == (0, "")


def test_a_container_without_a_mount_namespace_takes_none_along(runtime: Runtime) -> None:
    """Its rootfs is mounted on the host, with what was mounted below it."""
    peers_differ("runc", "crun", why="their mounts stay on the host")
    container = runtime.container("true")
    container.config["linux"]["namespaces"] = [{"type": "pid"}]
    del container.config["hostname"]
    assert watched(container, str(own_directory(container, "tree"))) == (0, "")


@pytest.mark.parametrize("propagation", PROPAGATIONS)
def test_a_create_that_fails_takes_none_along(runtime: Runtime, propagation: str) -> None:
    own = str(own_directory(runtime.container("true"), "tree"))
    container = bound(runtime, own, [option for option in ("rbind", propagation) if option], "/no/such")
    status, said = watched(container, own)
    assert status not in (98, 99) and "/no/such" in said


@pytest.mark.parametrize("propagation", PROPAGATIONS)
def test_a_user_namespace_takes_none_along(runtime: Runtime, propagation: str) -> None:
    own = str(own_directory(runtime.container("true"), "tree"))
    container = bound(runtime, own, [option for option in ("rbind", propagation) if option], "true")
    user_namespace(container.config)
    assert watched(container, own)[0] == 0
