"""config.json itself."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.failures import Group
from tests.integration.harness import Container

group = Group("config.json")


def written(container: Container, change: Callable[[str], str]) -> None:
    """config.json with its text changed; the container writes no other."""
    text = change(json.dumps(container.config, indent=1))
    container.write = lambda: None  # type: ignore[method-assign]
    (container.bundle / "config.json").write_text(text)


@group.case(
    "a comma too many",
    subject="config.json",
    place="config.json:2:",
    cause="not JSON",
    remedy="Expecting property name",
    reported="crun#507",
)
def _(container: Container) -> None:
    written(container, lambda text: text.replace('"1.0.2",', '"1.0.2",,', 1))


@group.case(
    "a file that is cut off",
    subject="config.json",
    place="config.json:",
    cause="not JSON",
    remedy="Expecting",
    reported="crun#507",
)
def _(container: Container) -> None:
    written(container, lambda text: text.rstrip()[:-1])


@group.case(
    "an empty config.json",
    subject="config.json",
    place="config.json",
    cause="the file is empty",
    remedy="`pyrunc spec` writes an example",
)
def _(container: Container) -> None:
    written(container, lambda text: "")


@group.case(
    "no config.json",
    subject="config.json",
    place="config.json",
    cause="no readable config.json",
    remedy="name the bundle",
)
def _(container: Container) -> None:
    container.write = lambda: None  # type: ignore[method-assign]


@group.case(
    "a text where a list belongs",
    subject='"/bin/sh"',
    place="process.args",
    cause='is "/bin/sh"',
    remedy="must be an array",
    reported="crun#507",
)
def _(container: Container) -> None:
    container.config["process"]["args"] = "/bin/sh"


@group.case(
    "a text where a number belongs",
    subject='"1000"',
    place="process.user.uid",
    cause='is "1000"',
    remedy="must be an integer",
    reported="crun#507",
)
def _(container: Container) -> None:
    container.config["process"]["user"]["uid"] = "1000"


@group.case(
    "a number that is out of range",
    subject="-1",
    place="process.user.uid",
    cause="is -1",
    remedy="must be at least 0",
)
def _(container: Container) -> None:
    container.config["process"]["user"]["uid"] = -1


@group.case(
    "a version that is not known",
    subject="2.0.0",
    place="ociVersion",
    cause="1.",
    remedy="1.",
)
def _(container: Container) -> None:
    container.config["ociVersion"] = "2.0.0"


@group.case(
    "no version",
    subject="ociVersion",
    place="ociVersion",
    cause="is required",
    remedy="is required",
)
def _(container: Container) -> None:
    del container.config["ociVersion"]


@group.case(
    "no working directory",
    subject="cwd",
    place="process.cwd",
    cause="is required",
    remedy="is required",
)
def _(container: Container) -> None:
    del container.config["process"]["cwd"]
