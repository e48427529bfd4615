"""The two spellings of a kernel parameter: sysctl.d(5)."""

from __future__ import annotations

import json

import pytest

from pyrunc import rules
from pyrunc.plan import Host, opcodes
from pyrunc.plan.container import compile_container
from pyrunc.spec import Spec


@pytest.mark.parametrize(
    ("key", "file"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
        ("net.ipv4.conf.eth0/1.forwarding", "net/ipv4/conf/eth0.1/forwarding"),
        ("net/ipv4/conf/eth0.1/forwarding", "net/ipv4/conf/eth0.1/forwarding"),
    ],
)
def test_the_first_separator_tells_the_spelling(key: str, file: str) -> None:
    document = {
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs"},
        "process": {"args": ["sh"], "cwd": "/", "user": {"uid": 0, "gid": 0}},
        "linux": {"namespaces": [{"type": "mount"}, {"type": "network"}], "sysctl": {key: "1"}},
    }
    assert list(rules.config(document)) == []
    plan = compile_container(Spec(json.dumps(document).encode()), Host("id", "/bundle", "/bundle/rootfs"))
    (step,) = [step for step in plan.steps if step.op == opcodes.SYSCTL]
    assert step.arguments == (file, "1")
