"""Faults of config.json: every rule once, and what must not be a fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pyrunc import validate

Config = dict[str, Any]


def config(**more: Any) -> Config:
    return {"ociVersion": "1.3.0", "root": {"path": "rootfs"}, **more}


def process(**more: Any) -> Config:
    base = {"args": ["sh"], "cwd": "/", "user": {"uid": 0, "gid": 0}}
    return config(process={**base, **more})


def linux(*spaces: str, **more: Any) -> Config:
    return config(linux={"namespaces": [{"type": space} for space in spaces], **more})


def resources(**more: Any) -> Config:
    return linux(resources=more)


def seccomp(**more: Any) -> Config:
    return linux(seccomp={"defaultAction": "SCMP_ACT_ERRNO", **more})


def rule(**more: Any) -> Config:
    return seccomp(syscalls=[{"names": ["read"], "action": "SCMP_ACT_ALLOW", **more}])


def mount(**more: Any) -> Config:
    return {"destination": "/a", "type": "tmpfs", **more}


def without(document: Config, *path: str) -> Config:
    inner = document
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    return document


def paths(document: Any) -> list[str]:
    return [fault.path for fault in validate.faults(json.dumps(document).encode())]


MAP = {"containerID": 0, "hostID": 0, "size": 1}
NOFILE = {"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1}


@pytest.mark.spec("EW-4", "G4")
@pytest.mark.parametrize(
    ("document", "path"),
    [
        ([], ""),
        (without(config(), "ociVersion"), "ociVersion"),
        (config(ociVersion="1.0"), "ociVersion"),
        (config(ociVersion="2.0.0"), "ociVersion"),
        (config(ociVersion="1.0.0\n"), "ociVersion"),
        (without(config(), "root"), "root"),
        (config(root={}), "root.path"),
        (config(root={"path": "a\0b"}), "root.path"),
        (config(hostname="h"), "hostname"),
        (config(domainname="d"), "domainname"),
        (config(annotations={"": "x"}), 'annotations[""]'),
        (config(annotations={"a.b": 1}), 'annotations["a.b"]'),
        (config(hooks={"poststop": [{"path": "x"}]}), "hooks.poststop[0].path"),
        (config(hooks={"poststop": [{"path": "/x", "timeout": 0}]}), "hooks.poststop[0].timeout"),
        (config(mounts=[{"type": "proc"}]), "mounts[0].destination"),
        (config(mounts=[mount(uidMappings=[MAP])]), "mounts[0].gidMappings"),
        (config(mounts=[mount(options=["idmap"])]), "mounts[0].options[0]"),
        (process(args=[]), "process.args"),
        (without(process(), "process", "args"), "process.args"),
        (without(process(), "process", "cwd"), "process.cwd"),
        (process(cwd="tmp"), "process.cwd"),
        (process(user={"uid": 0}), "process.user.gid"),
        (process(user={"uid": True, "gid": 0}), "process.user.uid"),
        (process(user={"uid": 0, "gid": 1.0}), "process.user.gid"),
        (process(user={"uid": 2**32, "gid": 0}), "process.user.uid"),
        (process(env=["a\0=b"]), "process.env[0]"),
        (process(env=["a=\ud800"]), "process.env[0]"),
        (process(capabilities=["CAP_CHOWN"]), "process.capabilities"),
        (process(rlimits=[NOFILE, NOFILE]), "process.rlimits[1].type"),
        (process(rlimits=[{**NOFILE, "soft": 2}]), "process.rlimits[0].soft"),
        (process(rlimits=[{**NOFILE, "type": "RLIMIT_X"}]), "process.rlimits[0].type"),
        (process(ioPriority={"class": "IOPRIO_CLASS_BE"}), "process.ioPriority.priority"),
        (process(scheduler={"policy": "X"}), "process.scheduler.policy"),
        (process(oomScoreAdj=1001), "process.oomScoreAdj"),
        (process(execCPUAffinity={"initial": "a"}), "process.execCPUAffinity.initial"),
        (linux("pid", "pid"), "linux.namespaces[1].type"),
        (linux("x"), "linux.namespaces[0].type"),
        (
            config(linux={"namespaces": [{"type": "network", "path": "/proc/self/ns/uts"}]}),
            "linux.namespaces[0].path",
        ),
        (
            config(linux={"namespaces": [{"type": "pid", "path": "x"}]}),
            "linux.namespaces[0].path",
        ),
        (linux("user", uidMappings=[MAP]), "linux.gidMappings"),
        (linux(uidMappings=[MAP]), "linux.uidMappings"),
        (
            linux("user", uidMappings=[{**MAP, "size": 0}], gidMappings=[MAP]),
            "linux.uidMappings[0].size",
        ),
        (linux(timeOffsets={"boottime": {"secs": 1}}), "linux.timeOffsets"),
        (linux("time", timeOffsets={"realtime": {}}), "linux.timeOffsets.realtime"),
        (linux(devices=[{"type": "c", "path": "/a", "major": 1}]), "linux.devices[0].minor"),
        (linux(netDevices={"eth0": {}}), "linux.netDevices"),
        (linux("network", netDevices={"a/b": {}}), 'linux.netDevices["a/b"]'),
        (linux("mount", maskedPaths=["a"]), "linux.maskedPaths[0]"),
        (linux("mount", readonlyPaths=["a"]), "linux.readonlyPaths[0]"),
        (linux(rootfsPropagation="x"), "linux.rootfsPropagation"),
        (linux(sysctl={"net.a": "1"}), 'linux.sysctl["net.a"]'),
        (linux("uts", sysctl={"kernel.hostname": "1"}), 'linux.sysctl["kernel.hostname"]'),
        (linux(sysctl={"vm.swappiness": "1"}), 'linux.sysctl["vm.swappiness"]'),
        (linux("network", sysctl={"net/../vm": "1"}), 'linux.sysctl["net/../vm"]'),
        (linux(personality={}), "linux.personality.domain"),
        (linux(personality={"domain": "LINUX", "flags": ["x"]}), "linux.personality.flags"),
        (linux(memoryPolicy={"nodes": "0"}), "linux.memoryPolicy.mode"),
        (linux(memoryPolicy={"mode": "MPOL_BIND"}), "linux.memoryPolicy.nodes"),
        (linux(intelRdt={"memBwSchema": "L3:0=f"}), "linux.intelRdt.memBwSchema"),
        (linux(intelRdt={"schemata": ["a\nb"]}), "linux.intelRdt.schemata[0]"),
        (linux(intelRdt={"closID": "../x"}), "linux.intelRdt.closID"),
        (resources(cpu={"quota": 5, "burst": 6}), "linux.resources.cpu.burst"),
        (resources(memory={"limit": "1"}), "linux.resources.memory.limit"),
        (resources(rdma={"mlx": {}}), "linux.resources.rdma.mlx"),
        (resources(unified={"frob.max": "1"}), 'linux.resources.unified["frob.max"]'),
        (resources(unified={"cpu./x": "1"}), 'linux.resources.unified["cpu./x"]'),
        (
            resources(blockIO={"weightDevice": [{"major": 8, "minor": 0}]}),
            "linux.resources.blockIO.weightDevice[0]",
        ),
        (
            resources(hugepageLimits=[{"pageSize": "64kB", "limit": 1}]),
            "linux.resources.hugepageLimits[0].pageSize",
        ),
        (seccomp(defaultAction="SCMP_ACT_NOTIFY"), "linux.seccomp.defaultAction"),
        (seccomp(listenerMetadata="x"), "linux.seccomp.listenerMetadata"),
        (seccomp(architectures=["x"]), "linux.seccomp.architectures[0]"),
        (rule(names=[]), "linux.seccomp.syscalls[0].names"),
        (rule(action="x"), "linux.seccomp.syscalls[0].action"),
        (rule(errnoRet=1), "linux.seccomp.syscalls[0].errnoRet"),
        (rule(action="SCMP_ACT_NOTIFY"), "linux.seccomp.listenerPath"),
    ],
)
def test_fault(document: Any, path: str) -> None:
    assert paths(document) == [path]


@pytest.mark.parametrize(
    "document",
    [
        config(),
        config(unknown=1, linux={"unknown": {"a": None}}),
        config(ociVersion="1.99.0-rc.1+x"),
        config(process=None, hostname=None),
        without(process(), "process", "user"),  # root, as runc has it
        config(windows={"x": "\0"}),
        {**linux("uts"), "hostname": "h"},
        process(capabilities={"bounding": ["CAP_UNKNOWN"]}, env=["NAME="]),
        process(consoleSize={"height": 1, "width": 1}),
        config(mounts=[mount(destination="relative")]),
        linux(devices=[{"type": "p", "path": "/x"}]),
        linux("network", sysctl={"net/ipv4/conf/eth0.1/forwarding": "1"}),
        resources(pids={}),
        resources(pids={"limit": 0}, unified={"memory.high": "1"}),
    ],
)
def test_no_fault(document: Config) -> None:
    assert paths(document) == []


@pytest.mark.spec("G2")
@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        (b'{"a": 1,\n "b": }', 2, 7),
        (b'{"a":\n NaN}', 2, 2),
        (b'{"a":\n -Infinity}', 2, 2),
        (b'{"a":\n "\xff"}', 2, 3),
        (b'\xef\xbb\xbf{"a": 1}', 1, 1),
        (b"", 1, 1),
    ],
)
def test_not_json(text: bytes, line: int, column: int) -> None:
    (fault,) = validate.faults(text)
    assert (fault.line, fault.column) == (line, column)


def test_deep_nesting_is_a_fault() -> None:
    assert validate.faults(b"[" * 200000)


@pytest.mark.spec("CR-9", "G4", "EW-4")
def test_all_at_once_each_with_its_line() -> None:
    text = b"""{
  "ociVersion": "x",
  "root": {"path": "a", "path": "b"},
  "mounts": [{"destination": "/a", "type": "proc"},
    {"destination": "/b",
     "type": 5}]
}"""
    found = {fault.path: fault.line for fault in validate.faults(text)}
    assert found == {"ociVersion": 2, "root.path": 3, "mounts[1].type": 6}


def test_rootfs_is_looked_for_in_the_bundle(tmp_path: Path) -> None:
    text = json.dumps(config()).encode()
    assert [fault.path for fault in validate.faults(text, str(tmp_path))] == ["root.path"]
    (tmp_path / "rootfs").mkdir()
    assert not validate.faults(text, str(tmp_path))


def test_process_alone() -> None:
    good = process()["process"]
    assert not validate.process_faults(json.dumps(good).encode())
    bad = json.dumps({**good, "cwd": "x", "rlimits": [NOFILE, NOFILE]}).encode()
    found = sorted(fault.path for fault in validate.process_faults(bad))
    assert found == ["cwd", "rlimits[1].type"]
