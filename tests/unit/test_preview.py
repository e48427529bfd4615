"""The steps that `plan` shows: each with its place in config.json, and what this host can't do."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from configurations import everything

from pyrunc import step_text
from pyrunc.cli import planning
from pyrunc.errors import ConfigError
from pyrunc.explain.host import Host
from pyrunc.plan import Plan, Step, opcodes
from pyrunc.preview import Item, cannot, preview


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (tmp_path / "rootfs").mkdir()
    return tmp_path


def minimal(**more: Any) -> dict[str, Any]:
    return {
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs"},
        "process": {"args": ["sh"], "cwd": "/", "user": {"uid": 0, "gid": 0}},
        "linux": {"namespaces": [{"type": kind} for kind in ("mount", "pid", "uts", "network")]},
        **more,
    }


def items(bundle: Path, document: dict[str, Any]) -> list[Item]:
    (bundle / "config.json").write_text(json.dumps(document))
    return preview(str(bundle)).items


def at(found: list[Item], path: str) -> Item:
    (item,) = [item for item in found if item.path == path]
    return item


@pytest.mark.parametrize("value", [[1], [[2]], ["a"], [{}]])
def test_resources_that_nobody_knows(bundle: Path, value: list[Any]) -> None:
    document = minimal()
    document["linux"]["resources"] = {"unknown": value}
    assert at(items(bundle, document), "linux.resources.unknown[0]").name == "limit"
    planning.plan(str(bundle), as_json=False, no_pivot=False)


def test_the_steps_are_in_the_order_in_which_they_are_taken(bundle: Path) -> None:
    found = items(bundle, minimal(hostname="h", mounts=[{"destination": "/proc", "type": "proc"}]))
    names = [item.name for item in found]
    order = [
        "cgroup",
        "clone3",
        "hostname",
        "rootfs",
        "mount",
        "pivot",
        "chdir",
        "gate",
        "created",
        "exec",
    ]
    assert [name for name in dict.fromkeys(names) if name in order] == order
    assert [item.actor for item in found if item.name in ("clone3", "created")] == ["runtime", "runtime"]


def test_a_step_has_the_words_of_the_configuration(bundle: Path) -> None:
    options = ["nosuid", "ro", "mode=755"]
    found = items(
        bundle,
        minimal(mounts=[{"destination": "/tmp", "type": "tmpfs", "source": "t", "options": options}]),
    )
    assert at(found, "mounts[0]").arguments == {
        "type": "tmpfs",
        "source": "t",
        "parameters": ["mode=755"],
        "attributes": ["ro", "nosuid"],
        "destination": "/tmp",
    }
    assert at(found, "process.user").arguments == {"uid": 0, "gid": 0}


def test_limits_and_hooks_of_the_runtime_are_steps_too(bundle: Path) -> None:
    hooks = {"prestart": [{"path": "/bin/true"}], "poststart": [{"path": "/nowhere"}]}
    document = minimal(hooks=hooks)
    document["linux"]["resources"] = {"pids": {"limit": 5}}
    found = items(bundle, document)
    assert at(found, "linux.resources.pids.limit").arguments == {"value": 5}
    assert at(found, "hooks.prestart[0]").problem == ""
    assert at(found, "hooks.poststart[0]").problem == "/nowhere is no executable file of this host"


def test_what_is_not_there_is_marked(bundle: Path) -> None:
    mounts = [
        {"destination": "/a", "type": "nosuchfs"},
        {"destination": "/b", "source": "/nowhere/at/all", "options": ["rbind"]},
    ]
    found = items(bundle, minimal(mounts=mounts))
    assert at(found, "mounts[0]").problem == "this kernel has no file system nosuchfs"
    assert at(found, "mounts[1].source").problem == "/nowhere/at/all does not exist"


def test_a_refused_configuration_has_no_plan(bundle: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        items(bundle, minimal(hostname=7))
    assert [fault.path for fault in refused.value.faults] == ["hostname"]


def test_nothing_is_made(bundle: Path) -> None:
    items(bundle, minimal())
    assert sorted(os.listdir(bundle)) == ["config.json", "rootfs"]


def test_a_label_needs_its_security_module(tmp_path: Path) -> None:
    step = Step(opcodes.PROC_WRITE, ("attr/apparmor/exec", "exec p"), "process.apparmorProfile")
    host = Host(root=str(tmp_path))
    assert cannot(Plan(), step, host) == "AppArmor is not enabled on this host"
    enabled = tmp_path / "sys/module/apparmor/parameters/enabled"
    enabled.parent.mkdir(parents=True)
    enabled.write_text("Y\n")
    assert cannot(Plan(), step, host) == ""


def test_a_capability_that_the_caller_lacks_is_named(tmp_path: Path) -> None:
    status = tmp_path / "proc/self/status"
    status.parent.mkdir(parents=True)
    status.write_text(f"CapBnd:\t{1 << 5:016x}\n")
    step = Step(opcodes.BOUNDING, (1 << 5 | 1 << 21,), "process.capabilities.bounding")
    found = cannot(Plan(), step, Host(root=str(tmp_path)))
    assert found == "not in the caller's own bounding set: CAP_SYS_ADMIN"


@pytest.mark.parametrize("op", sorted(opcodes.SIGNATURES), ids=lambda op: opcodes.NAMES[op])
def test_names_of_arguments_fit_the_signature(op: int) -> None:
    names = step_text._NAMES.get(op)
    assert names is None or len(names) <= len(opcodes.SIGNATURES[op])


def test_the_text_fits_the_terminal(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bundle / "config.json").write_text(json.dumps(minimal(hostname="h")))
    monkeypatch.setenv("COLUMNS", "70")
    text = planning.plan(str(bundle), False, False)
    assert "  init     hostname name=h  hostname\n" in text
    assert max(len(line) for line in text.splitlines() if "/" not in line) <= 70


def test_json_says_whether_it_is_possible(bundle: Path) -> None:
    document = minimal(hooks={"poststart": [{"path": "/nowhere"}]})
    (bundle / "config.json").write_text(json.dumps(document))
    answer = json.loads(planning.plan(str(bundle), True, False))
    assert answer["possible"] is False
    assert {"actor", "name", "arguments", "path", "problem"} == set(answer["steps"][0])


def test_everything_has_a_plan(bundle: Path) -> None:
    found = items(bundle, everything())
    assert at(found, "linux.netDevices.eth0").arguments == {"device": "eth0", "name": "eth1"}
    assert at(found, "linux.intelRdt").arguments == {"closID": "group"}
    assert all(item.path or item.actor for item in found)
    assert at(found, "process.rlimits[0]").arguments == {
        "resource": "RLIMIT_NOFILE",
        "soft": 1024,
        "hard": 4096,
    }
