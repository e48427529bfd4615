"""Networks: none, host, bridge, another container's."""

from __future__ import annotations

from .. import host
from ..engine import Engine, ok
from ..images import IMAGE
from . import check

BOTH = "podman docker"
INTERFACES = "cut -d: -f1 /proc/net/dev | tail -n +3 | tr -d ' ' | sort"


def interfaces(engine: Engine, *options: str) -> list[str]:
    return engine.output(*options, IMAGE, "sh", "-c", INTERFACES).split()


@check("--network none", BOTH)
def none(engine: Engine) -> None:
    assert interfaces(engine, "--network", "none") == ["lo"]
    assert "127.0.0.1" in engine.output("--network", "none", IMAGE, "ip", "-4", "address", "show", "lo", "up")


@check("--network host", BOTH)
def host_network(engine: Engine) -> None:
    link = ok(engine.sandbox.run("readlink", "/proc/self/ns/net")).strip()
    assert engine.output("--network", "host", IMAGE, "readlink", "/proc/self/ns/net") == link


@check("--network bridge", BOTH, host.bridge)
def bridge(engine: Engine) -> None:
    name = "podman" if engine.name == "podman" else "bridge"
    with engine.container("--network", name, command=("httpd", "-f", "-p", "80", "-h", "/etc")) as server:
        form = f'(index .NetworkSettings.Networks "{name}").IPAddress'
        address = engine.inspect(server, form)
        page = engine.output("--network", name, IMAGE, "wget", "-q", "-O", "-", f"http://{address}/passwd")
        assert page.startswith("root:"), page


@check("--publish", BOTH, host.bridge)
def publish(engine: Engine) -> None:
    name = "podman" if engine.name == "podman" else "bridge"
    serve = ("httpd", "-f", "-p", "80", "-h", "/etc")
    with engine.container("--network", name, "-p", "8000:80", command=serve) as server:
        assert "8000" in ok(engine("port", server))
        address = engine.sandbox.run("sh", "-c", "hostname -I").stdout.split()[0]
        got = engine.sandbox.run("busybox", "wget", "-q", "-O", "-", f"http://{address}:8000/passwd")
        assert ok(got).startswith("root:")


@check("a network of one's own, with names", "docker", host.bridge)
def own_network(engine: Engine) -> None:
    ok(engine("network", "create", "--subnet", "10.67.0.0/24", "own"))
    try:
        with engine.container("--network", "own", "--network-alias", "server"):
            assert "10.67.0." in engine.output("--network", "own", IMAGE, "nslookup", "server")
    finally:
        engine("network", "rm", "own")


@check("--network container:", BOTH)
def other(engine: Engine) -> None:
    with engine.container() as name:
        link = ok(engine("exec", name, "readlink", "/proc/self/ns/net")).strip()
        assert engine.output("--network", f"container:{name}", IMAGE, "readlink", "/proc/self/ns/net") == link


@check("--dns, --add-host", BOTH, host.bridge)
def names(engine: Engine) -> None:
    name = "podman" if engine.name == "podman" else "bridge"
    options = "--network", name, "--dns", "10.9.8.7", "--add-host", "there:10.1.2.3"
    text = engine.output(*options, IMAGE, "cat", "/etc/resolv.conf", "/etc/hosts")
    assert "nameserver 10.9.8.7" in text and "10.1.2.3" in text, text
