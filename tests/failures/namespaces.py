"""Namespaces, id maps, names and kernel settings."""

from __future__ import annotations

from tests.failures import Group
from tests.integration.harness import Container, add_namespace, user_namespace

group = Group("Namespaces, id maps, sysctl")


def without(container: Container, type_: str) -> None:
    linux = container.config["linux"]
    linux["namespaces"] = [entry for entry in linux["namespaces"] if entry["type"] != type_]


@group.case(
    "a namespace whose process has ended",
    subject="/proc/999999999/ns/net",
    place="linux.namespaces[4].path",
    cause="does not exist",
    remedy="start that container first, or leave path out",
)
def _(container: Container) -> None:
    add_namespace(container.config, "network", "/proc/999999999/ns/net")


@group.case(
    "a namespace of another type",
    subject="/proc/self/ns/uts",
    place="linux.namespaces[4].path",
    cause="is not a namespace of the type",
    remedy="correct type or path",
)
def _(container: Container) -> None:
    add_namespace(container.config, "network", "/proc/self/ns/uts")


@group.case(
    "a file that is no namespace",
    subject="/etc/passwd",
    place="linux.namespaces[4].path",
    cause="is not a namespace of the type",
    remedy="correct type or path",
)
def _(container: Container) -> None:
    add_namespace(container.config, "network", "/etc/passwd")


@group.case(
    "a namespace twice",
    subject="uts",
    place="linux.namespaces[5]",
    cause="more than once",
    remedy="is there more than once",
)
def _(container: Container) -> None:
    container.config["linux"]["namespaces"].append({"type": "uts"})


@group.case(
    "an unknown namespace",
    subject='"net"',
    place="linux.namespaces[5].type",
    cause="is not a known value",
    remedy="known: mount, pid, network",
)
def _(container: Container) -> None:
    container.config["linux"]["namespaces"].append({"type": "net"})


@group.case(
    "a user namespace without id maps",
    subject="uidMappings",
    place="linux.uidMappings",
    cause="is required for a new user namespace",
    remedy="is required",
)
def _(container: Container) -> None:
    container.config["linux"]["namespaces"].append({"type": "user"})


@group.case(
    "id maps that overlap",
    subject="0 100000 10",
    place="linux.uidMappings",
    cause="ranges overlap",
    remedy="correct containerID, hostID or size",
    reported="runc#774",
)
def _(container: Container) -> None:
    user_namespace(container.config)
    maps = [
        {"containerID": 0, "hostID": 100000, "size": 10},
        {"containerID": 5, "hostID": 200000, "size": 10},
    ]
    container.config["linux"]["uidMappings"] = maps


@group.case(
    "root that is not mapped",
    subject="become root",
    place="linux.uidMappings",
    cause="in no range",
    remedy="map the id 0",
)
def _(container: Container) -> None:
    user_namespace(container.config)
    container.config["linux"]["uidMappings"] = [{"containerID": 1, "hostID": 100000, "size": 10}]


@group.case(
    "a host name without a uts namespace",
    subject="hostname",
    place="hostname",
    cause="uts namespace",
    remedy="add",
)
def _(container: Container) -> None:
    without(container, "uts")


@group.case(
    "a host name that is too long",
    subject="xxxx",
    place="hostname",
    cause="at most 64",
    remedy="shorten it",
)
def _(container: Container) -> None:
    container.config["hostname"] = "x" * 65


@group.case(
    "a setting that the kernel does not have",
    subject="net/ipv4/no_such_setting",
    place="linux.sysctl.net.ipv4.no_such_setting",
    cause="has no such setting",
    remedy="see `sysctl -a`",
    reported="syncthing#7668",
)
def _(container: Container) -> None:
    container.config["linux"]["sysctl"] = {"net.ipv4.no_such_setting": "1"}


@group.case(
    "a value that the setting does not take",
    subject="net/ipv4/ip_forward",
    place="linux.sysctl.net.ipv4.ip_forward",
    cause="doesn't take this value",
    remedy="see the same file on the host",
    reported="moby#27484",
)
def _(container: Container) -> None:
    container.config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "yes"}


@group.case(
    "a setting of the network without a network namespace",
    subject="net.ipv4.ip_forward",
    place='linux.sysctl["net.ipv4.ip_forward"]',
    cause="needs a network namespace",
    remedy="needs a network namespace of the container",
    reported="runc#2693",
)
def _(container: Container) -> None:
    without(container, "network")
    container.config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}


@group.case(
    "a setting of the whole host",
    subject="vm.swappiness",
    place='linux.sysctl["vm.swappiness"]',
    cause="is not in a namespace",
    remedy="it would change the host",
)
def _(container: Container) -> None:
    container.config["linux"]["sysctl"] = {"vm.swappiness": "10"}


@group.case(
    "a clock that would be negative",
    subject="monotonic",
    place="linux.timeOffsets",
    cause="the clock would be negative",
    remedy="choose a smaller offset",
)
def _(container: Container) -> None:
    add_namespace(container.config, "time")
    container.config["linux"]["timeOffsets"] = {"monotonic": {"secs": -(10**9)}}
