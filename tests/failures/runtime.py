"""The runtime's own: ids, states, files."""

from __future__ import annotations

import os

from tests.failures import Group
from tests.integration.harness import Container

group = Group("Ids, states, files of the runtime")


@group.case(
    "an id that is in use",
    subject="already exists",
    place="pyrunc-test-",
    cause="container with given ID already exists",
    remedy="choose another id, or delete that container",
)
def _(container: Container) -> None:
    container.create().ok()


@group.case(
    "start of a running container",
    subject="running",
    place="pyrunc-test-",
    cause="cannot start an already running container",
    remedy="kill, delete and create it to run it again",
    verb="start",
)
def _(container: Container) -> None:
    container.config["process"]["args"] = ["/bin/sleep", "100"]
    container.started()


@group.case(
    "start of a container that is not there",
    subject="container does not exist",
    place="--root",
    cause="does not exist",
    remedy="`pyrunc list`",
    verb="start",
)
def _(container: Container) -> None:
    pass


@group.case(
    "start of a container whose init was killed",
    subject="stopped",
    place="pyrunc-test-",
    cause="its init was killed before start",
    remedy="pyrunc delete",
    reported="runc#4790",
    verb="start",
)
def _(container: Container) -> None:
    container.create().ok()
    container.kill("KILL").ok()
    container.wait()


@group.case(
    "exec in a stopped container",
    subject="stopped container",
    place="pyrunc-test-",
    cause="has ended",
    remedy="start it again",
    verb="exec",
    arguments=("/bin/true",),
)
def _(container: Container) -> None:
    container.finished()


@group.case(
    "a pid file in a directory that is not there",
    subject="/no/such/pid",
    place="--pid-file",
    cause="does not exist",
    remedy="make the directory",
    options=("--pid-file", "/no/such/pid"),
)
def _(container: Container) -> None:
    pass


@group.case(
    "a state root that is a file",
    subject="/state",
    place="--root",
    cause="not a directory",
    remedy="another --root",
    reported="runc#2018",
)
def _(container: Container) -> None:
    (container.runtime.root).parent.mkdir(exist_ok=True)
    container.runtime.root.write_text("")


@group.case(
    "a socket's path as the bundle",
    subject="config.json",
    place="config.json",
    cause="no readable config.json",
    remedy="name the bundle",
)
def _(container: Container) -> None:
    container.write()
    os.rename(container.bundle / "config.json", container.bundle / "config.txt")
    container.write = lambda: None  # type: ignore[method-assign]
