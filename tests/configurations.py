"""Configurations for tests: one that has every property, and mutants of it."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SCHEMA = json.loads(
    (Path(__file__).parents[1] / "pyrunc" / "schema" / "config-schema.json").read_text(encoding="utf-8")
)
Where = tuple[str | int, ...]

_MAP = {"containerID": 0, "hostID": 100000, "size": 65536}
_HOOK = {"path": "/bin/true", "args": ["true"], "env": ["A=b"], "timeout": 5}
_THROTTLE = [{"major": 8, "minor": 0, "rate": 1000}]
_OFFSET = {"secs": 1, "nanosecs": 2}

# A value for every leaf of the schema, and nothing that create would refuse.
EVERYTHING: dict[str, Any] = {
    "ociVersion": "1.3.0",
    "root": {"path": "rootfs", "readonly": True},
    "hostname": "host",
    "domainname": "domain",
    "annotations": {"org.example.key": "value"},
    "mounts": [
        {
            "destination": "/data",
            "source": "/srv",
            "type": "bind",
            "options": ["rbind", "ro", "idmap"],
            "uidMappings": [_MAP],
            "gidMappings": [_MAP],
        }
    ],
    "process": {
        "terminal": True,
        "consoleSize": {"height": 25, "width": 80},
        "cwd": "/",
        "env": ["PATH=/bin"],
        "args": ["sh"],
        "user": {"uid": 1, "gid": 2, "umask": 18, "additionalGids": [3]},
        "capabilities": {
            "bounding": ["CAP_KILL"],
            "effective": ["CAP_KILL"],
            "inheritable": ["CAP_KILL"],
            "permitted": ["CAP_KILL"],
            "ambient": ["CAP_KILL"],
        },
        "noNewPrivileges": True,
        "apparmorProfile": "profile",
        "selinuxLabel": "label",
        "oomScoreAdj": 100,
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 4096}],
        "scheduler": {
            "policy": "SCHED_OTHER",
            "nice": 5,
            "priority": 0,
            "flags": ["SCHED_FLAG_RESET_ON_FORK"],
            "runtime": 0,
            "deadline": 0,
            "period": 0,
        },
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4},
        "execCPUAffinity": {"initial": "0-1", "final": "0"},
    },
    "hooks": {
        kind: [_HOOK]
        for kind in (
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        )
    },
    "linux": {
        "namespaces": [
            {"type": "mount"},
            {"type": "pid"},
            {"type": "network", "path": "/run/netns/example"},
            {"type": "uts"},
            {"type": "ipc"},
            {"type": "user"},
            {"type": "cgroup"},
            {"type": "time"},
        ],
        "uidMappings": [_MAP],
        "gidMappings": [_MAP],
        "timeOffsets": {"boottime": _OFFSET, "monotonic": _OFFSET},
        "devices": [
            {"type": "c", "path": "/dev/fuse", "major": 10, "minor": 229, "fileMode": 438, "uid": 0, "gid": 0}
        ],
        "netDevices": {"eth0": {"name": "eth1"}},
        "cgroupsPath": "/example",
        "resources": {
            "devices": [{"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"}],
            "memory": {
                "limit": 1 << 30,
                "reservation": 1 << 29,
                "swap": 1 << 31,
                "kernel": -1,
                "kernelTCP": -1,
                "swappiness": 60,
                "disableOOMKiller": False,
                "useHierarchy": True,
                "checkBeforeUpdate": True,
            },
            "cpu": {
                "shares": 1024,
                "quota": 50000,
                "burst": 1000,
                "period": 100000,
                "realtimePeriod": 0,
                "realtimeRuntime": 0,
                "cpus": "0-1",
                "mems": "0",
                "idle": 0,
            },
            "pids": {"limit": 100},
            "blockIO": {
                "weight": 100,
                "leafWeight": 100,
                "weightDevice": [{"major": 8, "minor": 0, "weight": 100, "leafWeight": 100}],
                "throttleReadBpsDevice": _THROTTLE,
                "throttleWriteBpsDevice": _THROTTLE,
                "throttleReadIOPSDevice": _THROTTLE,
                "throttleWriteIOPSDevice": _THROTTLE,
            },
            "hugepageLimits": [{"pageSize": "2MB", "limit": 0}],
            "network": {"classID": 1, "priorities": [{"name": "eth0", "priority": 5}]},
            "rdma": {"mlx5_0": {"hcaHandles": 1, "hcaObjects": 2}},
            "unified": {"memory.high": "max"},
        },
        "intelRdt": {
            "closID": "group",
            "l3CacheSchema": "L3:0=ff",
            "memBwSchema": "MB:0=50",
            "schemata": ["L2:0=f"],
            "enableMonitoring": True,
        },
        "rootfsPropagation": "slave",
        "maskedPaths": ["/proc/kcore"],
        "readonlyPaths": ["/proc/sys"],
        "mountLabel": "label",
        "sysctl": {"net.ipv4.ip_forward": "1"},
        "seccomp": {
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": 1,
            "architectures": ["SCMP_ARCH_X86_64"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"],
            "listenerPath": "/run/listener.sock",
            "listenerMetadata": "data",
            "syscalls": [
                {
                    "names": ["mkdir"],
                    "action": "SCMP_ACT_ERRNO",
                    "errnoRet": 2,
                    "args": [{"index": 0, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_EQ"}],
                }
            ],
        },
        "personality": {"domain": "LINUX", "flags": []},
        "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]},
    },
}


def everything() -> dict[str, Any]:
    return copy.deepcopy(EVERYTHING)


def resolve(node: dict[str, Any]) -> dict[str, Any]:
    """A part of the schema, with its $ref followed."""
    while "$ref" in node:
        node = SCHEMA["$defs"][node["$ref"].removeprefix("#/$defs/")]
    return node


def leaves(node: dict[str, Any], value: Any, where: Where = ()) -> Iterator[Where]:
    """Where every value of a configuration is that the schema knows: objects and arrays too."""
    node = resolve(node)
    if where:
        yield where
    if isinstance(value, dict):
        for name, item in value.items():
            inner = node.get("properties", {}).get(name) or node.get("additionalProperties")
            yield from leaves(inner, item, (*where, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(node["items"], item, (*where, index))


def paths(node: dict[str, Any], where: str = "") -> Iterator[str]:
    """Every property of the schema, as ``process.rlimits[].type``."""
    node = resolve(node)
    for name, inner in node.get("properties", {}).items():
        yield f"{where}{name}"
        yield from paths(inner, f"{where}{name}.")
    if isinstance(node.get("additionalProperties"), dict):
        yield from paths(node["additionalProperties"], f"{where}*.")
    if "items" in node:
        yield from paths(node["items"], f"{where.removesuffix('.')}[].")


def replaced(document: Any, where: Where, value: Any) -> Any:
    """A copy of the document with another value at one place."""
    if not where:
        return value
    result = copy.copy(document)
    result[where[0]] = replaced(document[where[0]], where[1:], value)
    return result
