"""linux.netDevices: devices of the host that become the container's."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator

import pytest

from tests.integration.harness import Container, Runtime, peers_differ, user_namespace

pytestmark = pytest.mark.spec("linux.netDevices")


def ip(*args: str) -> str:
    return subprocess.run(["ip", *args], check=True, capture_output=True, text=True).stdout


def exists(name: str) -> bool:
    return subprocess.run(["ip", "link", "show", name], capture_output=True, check=False).returncode == 0


@pytest.fixture
def device() -> Iterator[str]:
    """One end of a veth pair, with addresses; the other end stays on the host."""
    peers_differ("runc", "crun", why="Debian's versions do not know netDevices")
    name = f"pt{uuid.uuid4().hex[:10]}"
    ip("link", "add", name, "type", "veth", "peer", f"{name}p")
    ip("addr", "add", "192.0.2.5/24", "brd", "+", "dev", name)
    ip("addr", "add", "192.0.2.6/24", "dev", name)
    ip("addr", "add", "198.51.100.7/32", "scope", "link", "dev", name)
    subprocess.run(["ip", "addr", "add", "2001:db8::5/64", "dev", name, "nodad"], check=False)
    try:
        yield name
    finally:
        for end in (name, f"{name}p"):
            subprocess.run(["ip", "link", "del", end], capture_output=True, check=False)


def shown(container: Container) -> list[str]:
    """The lines of `ip -o addr` in the container, words separated by one space."""
    answer = container.exec("/bin/ip", "-o", "addr").ok()
    return [" ".join(line.split()) for line in answer.lines]


def test_a_device_is_moved_with_its_lasting_addresses_and_is_up(runtime: Runtime, device: str) -> None:
    container = runtime.sleeper()
    container.config["linux"]["netDevices"] = {device: {}}
    container.started()
    assert not exists(device)
    lines = "\n".join(shown(container))
    assert f"{device} inet 192.0.2.5/24 brd 192.0.2.255 scope global" in lines
    assert f"{device} inet 192.0.2.6/24 scope global secondary" in lines
    assert "198.51.100.7" not in lines  # of link scope: it belongs to where the device was
    link = container.exec("/bin/ip", "link", "show", device).ok().stdout
    assert "UP" in link


def test_ipv6_addresses_are_moved(runtime: Runtime, device: str) -> None:
    if "2001:db8::5" not in ip("addr", "show", device):
        pytest.skip("this host has no IPv6")
    container = runtime.sleeper()
    container.config["linux"]["netDevices"] = {device: {}}
    container.started()
    assert any("inet6 2001:db8::5/64" in line for line in shown(container))


def test_a_new_name(runtime: Runtime, device: str) -> None:
    container = runtime.sleeper()
    container.config["linux"]["netDevices"] = {device: {"name": "eth0"}}
    container.config["linux"]["sysctl"] = {"net.ipv4.conf.eth0.forwarding": "1"}
    container.started()
    assert any("eth0 inet 192.0.2.5/24" in line for line in shown(container))
    assert not any(device in line for line in shown(container))


def test_a_name_that_the_kernel_numbers(runtime: Runtime, device: str) -> None:
    container = runtime.sleeper()
    ip("link", "set", f"{device}p", "up")
    container.config["linux"]["netDevices"] = {
        device: {"name": "net%d"},
        f"{device}p": {"name": "net%d"},
    }
    container.started()
    found = container.exec("/bin/ls", "/sys/class/net").ok().stdout.split()
    assert {"net0", "net1"} <= set(found)
    assert sum("192.0.2.5/24" in line for line in shown(container)) == 1


@pytest.mark.spec("EW-13")
def test_a_name_that_is_taken_is_an_error_and_the_device_comes_back(runtime: Runtime, device: str) -> None:
    container = runtime.sleeper()
    container.config["linux"]["netDevices"] = {f"{device}p": {}, device: {"name": "lo"}}
    answer = container.create().failed()
    assert f"linux.netDevices.{device}.name" in answer.stderr and "lo" in answer.stderr
    assert exists(f"{device}p")
    assert "192.0.2.5/24" in ip("addr", "show", device)


def test_a_failing_hook_gives_the_device_back(runtime: Runtime, device: str) -> None:
    container = runtime.sleeper()
    container.config["linux"]["netDevices"] = {device: {"name": "eth0"}}
    container.config["hooks"] = {"createContainer": [{"path": "/bin/false"}]}
    container.create().failed()
    assert "192.0.2.5/24" in ip("addr", "show", device)


def test_a_device_that_does_not_exist(runtime: Runtime) -> None:
    peers_differ("runc", "crun", why="Debian's versions do not know netDevices")
    container = runtime.sleeper()
    container.config["linux"]["netDevices"] = {"nosuchdevice": {}}
    assert "linux.netDevices.nosuchdevice" in container.create().failed().stderr


def test_without_a_network_namespace_it_is_an_error(runtime: Runtime, device: str) -> None:
    container = runtime.sleeper()
    spaces = container.config["linux"]["namespaces"]
    container.config["linux"]["namespaces"] = [space for space in spaces if space["type"] != "network"]
    container.config["linux"]["netDevices"] = {device: {}}
    assert "linux.netDevices" in container.create().failed().stderr
    assert exists(device)


def test_into_the_namespace_of_a_user_namespace(runtime: Runtime, device: str) -> None:
    container = runtime.sleeper()
    user_namespace(container.config)
    container.config["linux"]["netDevices"] = {device: {}}
    container.started()
    assert any("192.0.2.5/24" in line for line in shown(container))


@pytest.mark.spec("DE-10", "DE-6")
def test_delete_does_not_move_it_back(runtime: Runtime, device: str) -> None:
    container = runtime.sleeper()
    container.config["linux"]["netDevices"] = {device: {}}
    container.started()
    container.delete("--force").ok()
    assert not exists(device)  # a veth ends with the namespace that it is in
