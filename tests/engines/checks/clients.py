"""The Python clients of docker and podman: the calls that people write."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import docker
import podman

from ..engine import Engine
from ..images import IMAGE
from . import check


def docker_client(engine: Engine) -> Any:
    return docker.DockerClient(base_url=f"unix://{engine.work}/docker.sock", timeout=60)


def common(client: Any, engine: Engine, network: str) -> None:
    """What the two clients spell alike."""
    options = {network: "none", "cgroup_parent": f"/{engine.sandbox.name}"}
    assert client.ping() and client.version()
    output = client.containers.run(IMAGE, ["echo", "hi"], remove=True, **options)
    assert output == b"hi\n", output
    name = engine.new_name()
    made = client.containers.run(
        IMAGE, ["sleep", "1000"], name=name, detach=True, environment={"A": "b"}, mem_limit="64m", **options
    )
    try:
        made.reload()
        assert made.status == "running", made.status
        code, output = made.exec_run(["sh", "-c", "echo $A; exit 3"])
        assert (code, output.strip()[-1:]) == (3, b"b"), (code, output)
        processes = made.top()["Processes"]
        assert any("sleep 1000" in " ".join(line) for line in processes), processes
        assert made.stats(stream=False)
        made.pause()
        made.unpause()
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as archive:
            entry = tarfile.TarInfo("put")
            entry.size = 3
            archive.addfile(entry, io.BytesIO(b"abc"))
        assert made.put_archive("/tmp", data.getvalue())
        pieces, _ = made.get_archive("/tmp/put")
        with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
            file = archive.extractfile("put")
            assert file and file.read() == b"abc"
        made.restart(timeout=0)
        made.kill()
        result = made.wait()
        assert (result["StatusCode"] if isinstance(result, dict) else result) == 137, result
    finally:
        made.remove(force=True)
    assert name not in [container.name for container in client.containers.list(all=True)]


@check("docker-py", "docker")
def docker_py(engine: Engine) -> None:
    client = docker_client(engine)
    common(client, engine, "network_mode")
    options = {"network_mode": "none", "cgroup_parent": f"/{engine.sandbox.name}"}
    try:
        client.containers.run(IMAGE, ["sh", "-c", "echo bad >&2; exit 9"], remove=True, **options)
    except docker.errors.ContainerError as failed:
        assert (failed.exit_status, failed.stderr) == (9, b"bad\n"), failed
    else:
        raise AssertionError("no ContainerError")
    made = client.containers.run(IMAGE, ["sleep", "1000"], detach=True, **options)
    try:
        made.update(mem_limit="96m", memswap_limit="96m")
        code, (out, error) = made.exec_run(["sh", "-c", "echo o; echo e >&2"], demux=True)
        assert (code, out, error) == (0, b"o\n", b"e\n"), (code, out, error)
    finally:
        made.remove(force=True)


@check("docker-py: a command that is not there", "docker")
def docker_py_missing(engine: Engine) -> None:
    try:
        docker_client(engine).containers.run(IMAGE, ["nosuchcommand"], remove=True, network_mode="none")
    except docker.errors.NotFound as failed:
        raise AssertionError("taken for an image that is not there") from failed
    except docker.errors.APIError as failed:
        assert "executable file not found in $PATH" in str(failed), failed
    else:
        raise AssertionError("no APIError")


@check("podman-py", "podman")
def podman_py(engine: Engine) -> None:
    socket = engine.work / "podman.sock"
    engine.sandbox.daemon(*engine.program, "system", "service", "-t", "0", f"unix://{socket}", log="service")
    engine.sandbox.wait_for("service", "test", "-S", str(socket))
    with podman.PodmanClient(base_url=f"unix://{socket}", version="4.3.1", timeout=60) as client:
        common(client, engine, "network_mode")
