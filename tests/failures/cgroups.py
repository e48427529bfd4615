"""Limits and cgroups."""

from __future__ import annotations

from typing import Any

from tests.failures import Group
from tests.integration.harness import Container

group = Group("Limits and cgroups")
RESOURCES = "linux.resources"


def limit(container: Container, **resources: Any) -> None:
    container.config["linux"]["resources"].update(resources)


@group.case(
    "a memory limit that is too low",
    subject="memory",
    place=f"{RESOURCES}.memory.limit",
    cause="OOM-killed",
    remedy="raise linux.resources.memory.limit",
    reported="runc#2736",
)
def _(container: Container) -> None:
    limit(container, memory={"limit": 4096})


@group.case(
    "swap below the memory limit",
    subject="swap",
    place=f"{RESOURCES}.memory.swap",
    cause="memory and swap together",
    remedy="raise it to at least memory.limit",
)
def _(container: Container) -> None:
    limit(container, memory={"limit": 64 << 20, "swap": 32 << 20})


@group.case(
    "processors that the host does not have",
    subject='cpuset.cpus to "900"',
    place=f"{RESOURCES}.cpu.cpus",
    cause="does not have",
    remedy="choose among those of the parent cgroup",
    reported="moby#11821",
)
def _(container: Container) -> None:
    limit(container, cpu={"cpus": "900"})


@group.case(
    "memory nodes that the host does not have",
    subject='cpuset.mems to "90"',
    place=f"{RESOURCES}.cpu.mems",
    cause="does not have",
    remedy="choose among those of the parent cgroup",
    reported="moby#11821",
)
def _(container: Container) -> None:
    limit(container, cpu={"mems": "90"})


@group.case(
    "a quota that is too small",
    subject='cpu.cfs_quota_us to "10"',
    place=f"{RESOURCES}.cpu.quota",
    cause="at least 1000",
    remedy="raise it",
    reported="runc#1794",
)
def _(container: Container) -> None:
    limit(container, cpu={"quota": 10, "period": 100000})


@group.case(
    "a period that is too long",
    subject='cpu.cfs_period_us to "5000000"',
    place=f"{RESOURCES}.cpu.period",
    cause="1000 to 1000000",
    remedy="choose one in that range",
    reported="runc#1794",
)
def _(container: Container) -> None:
    limit(container, cpu={"quota": 5000, "period": 5000000})


@group.case(
    "huge pages without their controller",
    subject="hugetlb",
    place=f"{RESOURCES}.hugepageLimits",
    cause="is not available",
    remedy="remove linux.resources.hugepageLimits",
    reported="crun#518",
)
def _(container: Container) -> None:
    limit(container, hugepageLimits=[{"pageSize": "2MB", "limit": 2 << 20}])


@group.case(
    "RDMA without its controller",
    subject="rdma",
    place=f"{RESOURCES}.rdma",
    cause="is not available",
    remedy="remove linux.resources.rdma",
    reported="crun#1430",
)
def _(container: Container) -> None:
    limit(container, rdma={"mlx5_1": {"hcaHandles": 3}})


@group.case(
    "network classes without their controller",
    subject="net_cls",
    place=f"{RESOURCES}.network",
    cause="is not available",
    remedy="remove linux.resources.network",
    reported="crun#518",
)
def _(container: Container) -> None:
    limit(container, network={"classID": 1048577})


@group.case(
    "keys of cgroup v2 on v1",
    subject="unified",
    place=f"{RESOURCES}.unified",
    cause="cgroup v2",
    remedy="use memory, cpu, pids and so on instead",
)
def _(container: Container) -> None:
    limit(container, unified={"memory.high": "1000000"})


@group.case(
    "a device rule with an unknown letter",
    subject='"rwx"',
    place=f"{RESOURCES}.devices[0].access",
    cause='is "rwx"',
    remedy="must consist of r, w and m",
)
def _(container: Container) -> None:
    limit(container, devices=[{"allow": True, "access": "rwx"}])


@group.case(
    "a cgroup path with ..",
    subject="/../up",
    place="linux.cgroupsPath",
    cause="..",
    remedy="without",
)
def _(container: Container) -> None:
    container.config["linux"]["cgroupsPath"] = "/../up"


@group.case(
    "a cgroup that another container is in",
    subject="pyrunc-test-",
    place="linux.cgroupsPath",
    cause="process",
    remedy="choose another",
)
def _(container: Container) -> None:
    other = container.runtime.sleeper().started()
    container.config["linux"]["cgroupsPath"] = f"/{other.id}"
