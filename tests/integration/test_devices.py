"""config.json's `linux.devices`, and the devices that are always there."""

from __future__ import annotations

import pytest

from tests.integration.harness import Runtime, peers_differ


@pytest.mark.spec("CR-13")
def test_default_devices(runtime: Runtime) -> None:
    names = "null zero full random urandom tty"
    lines = runtime.sh(f"cd /dev; stat -c '%t:%T %a' {names}").run().ok().lines
    assert lines == ["1:3 666", "1:5 666", "1:7 666", "1:8 666", "1:9 666", "5:0 666"]


@pytest.mark.spec("CR-13")
def test_default_devices_work(runtime: Runtime) -> None:
    script = "echo x > /dev/null; head -c 4 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c"
    assert runtime.sh(script).run().ok().lines == ["4", "4"]


@pytest.mark.spec("linux.devices")
@pytest.mark.parametrize(
    ("type_", "kind"),
    [("c", "character special file"), ("b", "block special file"), ("p", "fifo")],
)
def test_a_device(runtime: Runtime, type_: str, kind: str) -> None:
    container = runtime.sh("stat -c '%F,%a,%u,%g,%t:%T' /dev/own")
    device = {"path": "/dev/own", "type": type_, "fileMode": 0o626, "uid": 7, "gid": 8}
    if type_ != "p":
        device |= {"major": 10, "minor": 229}
    container.config["linux"]["devices"] = [device]
    numbers = "0:0" if type_ == "p" else "a:e5"
    assert container.run().ok().stdout == f"{kind},626,7,8,{numbers}\n"


def test_a_file_mode_with_the_type_in_it(runtime: Runtime) -> None:
    """podman --privileged gives the st_mode of the host's device."""
    container = runtime.sh("stat -c '%F,%a' /dev/own")
    device = {"path": "/dev/own", "type": "c", "major": 10, "minor": 229, "fileMode": 0o020640}
    container.config["linux"]["devices"] = [device]
    assert container.run().ok().stdout == "character special file,640\n"


def test_a_file_mode_of_zero_is_none_for_anybody(runtime: Runtime) -> None:
    container = runtime.sh("stat -c '%a' /dev/own")
    device = {"path": "/dev/own", "type": "c", "major": 10, "minor": 229, "fileMode": 0}
    container.config["linux"]["devices"] = [device]
    assert container.run().ok().stdout == "0\n"


def test_a_device_below_a_new_directory(runtime: Runtime) -> None:
    container = runtime.sh("test -c /dev/net/tun && echo there")
    container.config["linux"]["devices"] = [
        {"path": "/dev/net/tun", "type": "c", "major": 10, "minor": 200, "fileMode": 0o666}
    ]
    assert container.run().ok().stdout == "there\n"


@pytest.mark.spec("linux.resources.devices")
def test_devices_that_are_not_allowed(runtime: Runtime) -> None:
    container = runtime.sh("head -c 1 /dev/own")
    container.config["linux"]["devices"] = [
        {"path": "/dev/own", "type": "c", "major": 1, "minor": 1, "fileMode": 0o666}
    ]
    assert "Operation not permitted" in container.run().failed().stderr


@pytest.mark.spec("linux.resources.devices")
def test_tun_needs_no_rule(runtime: Runtime) -> None:
    """Pods with a VPN bind it, or make it, without asking for it."""
    peers_differ("crun", why="it wants a rule for it")
    container = runtime.sh(": 3<> /dev/net/tun")
    container.config["linux"]["devices"] = [
        {"path": "/dev/net/tun", "type": "c", "major": 10, "minor": 200, "fileMode": 0o666}
    ]
    assert "Operation not permitted" not in container.run().stderr  # a kernel may lack it


@pytest.mark.spec("linux.resources.devices")
def test_devices_that_are_allowed(runtime: Runtime) -> None:
    container = runtime.sh("echo hello > /dev/own")
    container.config["linux"]["devices"] = [
        {"path": "/dev/own", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666}
    ]
    rule = {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "rw"}
    container.config["linux"]["resources"]["devices"].append(rule)
    container.run().ok()
