"""containerd's Container Runtime Interface: what a kubelet calls, called without one."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .engine import GLUE, Containerd, ok, start_containerd
from .images import IMAGE, archive, rootfs

CONFIG = """
version = 2
root = "{work}/cd/root"
state = "{work}/cd/state"
oom_score = 0
[grpc]
  address = "{work}/cd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:latest"
  restrict_oom_score_adj = true
  tolerate_missing_hugetlb_controller = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{work}/cni.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "{runtime}"
"""

NETWORK = """
{{"cniVersion": "0.4.0", "name": "pods", "plugins": [{{
  "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true,
  "ipam": {{"type": "host-local", "dataDir": "{work}/ipam", "ranges": [[{{"subnet": "10.77.0.0/16"}}]]}}
}}]}}
"""


def messages() -> tuple[Any, Any]:
    """The classes of the messages and of the service, made of cri.proto."""
    import sys

    from grpc_tools import protoc

    folder = Path(__file__).parent
    with tempfile.TemporaryDirectory() as made:
        code = protoc.main(
            [
                "",
                f"-I{folder}",
                f"--python_out={made}",
                f"--grpc_python_out={made}",
                str(folder / "cri.proto"),
            ]
        )
        assert code == 0, "cri.proto can't be compiled"
        sys.path.insert(0, made)
        try:
            import cri_pb2
            import cri_pb2_grpc
        finally:
            sys.path.remove(made)
    return cri_pb2, cri_pb2_grpc


class Cri(Containerd):
    name = "cri"

    def start(self) -> None:
        import grpc

        work = self.work
        glue = (GLUE / "containerd.toml").read_text().replace("pyrunc", self.runtime)
        (work / "cni.d").mkdir()
        (work / "cni.d" / "10-pods.conflist").write_text(NETWORK.format(work=work))
        start_containerd(self.sandbox, CONFIG.format(work=work, runtime=self.runtime) + glue)
        self.program = ("ctr", "-a", f"{work}/cd.sock", "-n", "k8s.io")
        ok(self("image", "import", str(archive(work / "images.tar", rootfs(work / "busybox.tar")))))
        self.types, services = messages()
        self.channel = grpc.insecure_channel(f"unix://{work}/cd.sock")
        self.calls = services.RuntimeServiceStub(self.channel)
        self.call("Version")

    def call(self, name: str, **fields: Any) -> Any:
        """Calls NAME with a NAMERequest of the fields."""
        import grpc

        request = getattr(self.types, f"{name}Request")(**fields)
        try:
            return getattr(self.calls, name)(request, timeout=60)
        except grpc.RpcError as refused:
            raise AssertionError(f"{name}: {refused.details()}") from None

    @contextlib.contextmanager
    def pod(self, **linux: Any) -> Iterator[tuple[str, Any]]:
        """The id and the configuration of a running pod.

        With the node's network it has no host name of its own, as a kubelet does it."""
        name = self.new_name()
        options = linux.get("security_context", {}).get("namespace_options", {})
        config = self.types.PodSandboxConfig(
            metadata={"name": name, "uid": name, "namespace": "default"},
            hostname="" if options.get("network") == 2 else "pod-host",
            log_directory=str(self.work),
            linux={"cgroup_parent": f"/{self.sandbox.name}", **linux},
        )
        request = {"config": config, "runtime_handler": self.runtime}
        pod = self.call("RunPodSandbox", **request).pod_sandbox_id
        try:
            yield pod, config
        finally:
            self.call("StopPodSandbox", pod_sandbox_id=pod)
            self.call("RemovePodSandbox", pod_sandbox_id=pod)

    def create(self, pod: tuple[str, Any], *command: str, **config: Any) -> str:
        """A container, not started: its id."""
        name = self.new_name()
        security = config.setdefault("linux", {}).setdefault("security_context", {})
        security.setdefault("namespace_options", {"pid": 1})  # as a kubelet: a pid namespace of its own
        created = self.call(
            "CreateContainer",
            pod_sandbox_id=pod[0],
            sandbox_config=pod[1],
            config=self.types.ContainerConfig(
                metadata={"name": name},
                image={"image": IMAGE},
                command=command,
                log_path=f"{name}.log",
                **config,
            ),
        )
        self.log = self.work / f"{name}.log"
        return str(created.container_id)

    def launch(self, pod: tuple[str, Any], *command: str, **config: Any) -> str:
        """A running container: its id."""
        container = self.create(pod, *command, **config)
        self.call("StartContainer", container_id=container)
        return container

    def exec(self, container: str, *command: str) -> str:
        """The output of a command that has to succeed."""
        done = self.call("ExecSync", container_id=container, cmd=command, timeout=20)
        assert done.exit_code == 0, f"exec: {done.exit_code}: {(done.stdout + done.stderr).decode()}"
        return str(done.stdout.decode()).rstrip("\n")

    def state(self, container: str) -> tuple[int, int, str]:
        """State (1 running, 2 exited), exit code, reason."""
        status = self.call("ContainerStatus", container_id=container).status
        return status.state, status.exit_code, status.reason

    def finished(self, container: str) -> tuple[int, str]:
        """Waits for the container's end: exit code and reason."""
        end = time.monotonic() + 20
        while (state := self.state(container))[0] != 2:
            assert time.monotonic() < end, f"state {state}, not exited"
            time.sleep(0.1)
        return state[1:]

    def text(self) -> str:
        """What the container that was created last has written, without the log's own words."""
        lines = self.log.read_text().splitlines()
        return "\n".join(line.split(" ", 3)[3] for line in lines)
