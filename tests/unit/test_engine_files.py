"""What engines are told of pyrunc is well-formed, agrees with the how-tos, and is installed."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
FILES = REPO / "contrib" / "engines"


def toml(name: str) -> dict[str, dict[str, object]]:
    return tomllib.loads((FILES / name).read_text())


def test_podman_knows_the_name() -> None:
    engine = toml("pyrunc.conf")["engine"]
    assert all(path.endswith("/pyrunc") for path in engine["runtimes"]["pyrunc"])  # type: ignore[index]
    for capability in "runtime_supports_json", "runtime_supports_nocgroup":
        assert "pyrunc" in engine[capability] and "crun" in engine[capability]  # type: ignore[operator]


def test_containerd_and_cri_o_have_the_handler_of_the_runtime_class() -> None:
    cri = toml("containerd.toml")["plugins"]["io.containerd.grpc.v1.cri"]
    runtime = cri["containerd"]["runtimes"]["pyrunc"]  # type: ignore[index]
    assert (runtime["runtime_type"], runtime["options"]["BinaryName"]) == ("io.containerd.runc.v2", "pyrunc")
    assert toml("crio.conf")["crio"]["runtime"]["runtimes"]["pyrunc"]["runtime_type"] == "oci"  # type: ignore[index]
    assert "\nhandler: pyrunc\n" in (FILES / "runtimeclass.yaml").read_text()


def test_the_how_tos_show_what_ships() -> None:
    docker = (FILES / "daemon.json").read_text()
    assert json.loads(docker)["runtimes"] == {"pyrunc": {"path": "pyrunc"}}
    assert docker in (REPO / "docs" / "howto-docker.md").read_text()
    words = (REPO / "docs" / "howto-cri-o.md").read_text()
    shipped = [line for line in (FILES / "crio.conf").read_text().splitlines() if line and line[0] != "#"]
    assert all(line in words for line in shipped)


@pytest.mark.parametrize("file", sorted(path.name for path in FILES.iterdir()))
def test_it_is_installed(file: str) -> None:
    installed = Path(sys.prefix) / "share" / "pyrunc" / "engines" / file
    assert installed.read_text() == (FILES / file).read_text()
