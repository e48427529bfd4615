"""Pods under containerd's Container Runtime Interface, as a kubelet has them."""

from __future__ import annotations

from typing import Any

import pytest

from .. import host
from ..engine import ok
from . import check

HOST_NETWORK = {"security_context": {"namespace_options": {"network": 2, "pid": 1}}}


def linux(**security: Any) -> dict[str, Any]:
    return {"linux": {"security_context": security}}


@check("pod and container", "cri")
def pod(cri: Any) -> None:
    with cri.pod(**HOST_NETWORK) as pod:
        container = cri.launch(pod, "sh", "-c", "echo out; hostname; exit 3")
        assert cri.finished(container)[0] == 3
        assert cri.text().splitlines()[0] == "out"


@check("pod with a network", "cri", host.bridge)
def network(cri: Any) -> None:
    with cri.pod() as pod:
        address = cri.call("PodSandboxStatus", pod_sandbox_id=pod[0]).status.network.ip
        assert address.startswith("10.77.")
        cri.launch(pod, "httpd", "-f", "-p", "80", "-h", "/etc")
        other = cri.launch(pod, "sleep", "1000")
        assert cri.exec(other, "wget", "-q", "-O", "-", "http://127.0.0.1/passwd").startswith("root:")
        assert address in cri.exec(other, "ip", "address")
        assert cri.exec(other, "hostname") == "pod-host"


@check("exec", "cri")
def exec_(cri: Any) -> None:
    with cri.pod(**HOST_NETWORK) as pod:
        container = cri.launch(pod, "sleep", "1000")
        assert cri.exec(container, "echo", "hi") == "hi"
        done = cri.call("ExecSync", container_id=container, cmd=["sh", "-c", "echo no >&2; exit 9"])
        assert (done.stderr, done.exit_code) == (b"no\n", 9)


@check("exec: a command that is not there", "cri")
def exec_missing(cri: Any) -> None:
    with cri.pod(**HOST_NETWORK) as pod:
        container = cri.launch(pod, "sleep", "1000")
        with pytest.raises(AssertionError, match="executable file not found"):
            cri.exec(container, "nosuchcommand")


@check("exec: timeout", "cri")
def exec_timeout(cri: Any) -> None:
    with cri.pod(**HOST_NETWORK) as pod:
        container = cri.launch(pod, "sleep", "1000")
        with pytest.raises(AssertionError, match="timeout"):
            cri.call("ExecSync", container_id=container, cmd=["sleep", "100"], timeout=1)
        assert cri.exec(container, "echo", "still there") == "still there"


@check("start of what cannot be executed", "cri")
def start_missing(cri: Any) -> None:
    with cri.pod(**HOST_NETWORK) as pod:
        container = cri.create(pod, "nosuchcommand")
        with pytest.raises(AssertionError, match="executable file not found"):
            cri.call("StartContainer", container_id=container)
        state = cri.state(container)
        assert state[1:] == (128, "StartError"), state


@check("stats of containers and pods", "cri", host.cgroup("memory"))
def stats(cri: Any) -> None:
    with cri.pod(**HOST_NETWORK) as pod:
        container = cri.launch(pod, "sleep", "1000")
        stats = cri.call("ContainerStats", container_id=container).stats
        assert stats.memory.working_set_bytes.value > 0 and stats.cpu.usage_core_nano_seconds.value > 0
        stats = cri.call("PodSandboxStats", pod_sandbox_id=pod[0]).stats
        assert stats.linux.memory.working_set_bytes.value > 0


@check("stop", "cri")
def stop(cri: Any) -> None:
    with cri.pod(**HOST_NETWORK) as pod:
        container = cri.launch(pod, "sh", "-c", "trap 'exit 4' TERM; while :; do sleep 0.1; done")
        cri.exec(container, "sleep", "0.2")
        cri.call("StopContainer", container_id=container, timeout=10)
        assert cri.finished(container)[0] == 4


@check("stop: kill after the timeout", "cri")
def stop_kill(cri: Any) -> None:
    with cri.pod(**HOST_NETWORK) as pod:
        container = cri.launch(pod, "sleep", "1000")
        cri.call("StopContainer", container_id=container, timeout=1)
        assert (state := cri.finished(container)) == (137, "Error"), state


@check("a container again after its end", "cri")
def again(cri: Any) -> None:
    with cri.pod(**HOST_NETWORK) as pod:
        for _ in range(3):
            container = cri.launch(pod, "false")
            assert cri.finished(container)[0] == 1
            cri.call("RemoveContainer", container_id=container)


@check("limits, update", "cri", host.cgroup("memory"))
def update(cri: Any) -> None:
    limits = {"memory_limit_in_bytes": 64 << 20, "cpu_quota": 50000, "cpu_period": 100000, "cpu_shares": 100}
    with cri.pod(**HOST_NETWORK) as pod:
        container = cri.launch(pod, "sleep", "1000", linux={"resources": limits})
        file = f"/sys/fs/cgroup/memory/{cri.sandbox.name}/{container}/memory.limit_in_bytes"
        assert ok(cri.sandbox.run("cat", file)) == f"{64 << 20}\n"
        limits["memory_limit_in_bytes"] = 96 << 20
        cri.call("UpdateContainerResources", container_id=container, linux=limits)
        assert ok(cri.sandbox.run("cat", file)) == f"{96 << 20}\n"
        assert cri.exec(container, "sh", "-c", "echo x >/dev/null; echo ok") == "ok"


@check("OOMKilled", "cri", host.cgroup("memory"))
def oom(cri: Any) -> None:
    with cri.pod(**HOST_NETWORK) as pod:
        limits = {"memory_limit_in_bytes": 16 << 20}
        container = cri.launch(pod, "tail", "/dev/zero", linux={"resources": limits})
        assert cri.finished(container) == (137, "OOMKilled")


@check("privileged", "cri")
def privileged(cri: Any) -> None:
    with cri.pod(security_context={"namespace_options": {"network": 2}, "privileged": True}) as pod:
        container = cri.launch(pod, "sleep", "1000", **linux(privileged=True))
        assert cri.exec(container, "sh", "-c", "mount -t tmpfs x /tmp && echo ok") == "ok"


@check("capabilities", "cri")
def caps(cri: Any) -> None:
    with cri.pod(**HOST_NETWORK) as pod:
        wanted = {"add_capabilities": ["NET_ADMIN"], "drop_capabilities": ["ALL"]}
        container = cri.launch(pod, "sleep", "1000", **linux(capabilities=wanted))
        text = cri.exec(container, "grep", "CapEff", "/proc/1/status")
        assert text.split()[1] == f"{1 << 12:016x}", text


@check("read-only, user, groups, no-new-privs", "cri")
def security(cri: Any) -> None:
    with cri.pod(**HOST_NETWORK) as pod:
        wanted = {
            "readonly_rootfs": True,
            "run_as_user": {"value": 1000},
            "supplemental_groups": [77],
            "no_new_privs": True,
        }
        container = cri.launch(pod, "sleep", "1000", **linux(**wanted))
        text = cri.exec(
            container, "sh", "-c", "id -u; id -G; grep NoNew /proc/self/status; touch /tmp/x || echo refused"
        )
        words = text.split()
        assert words[0] == "1000" and "77" in words and "refused" in words, text
        assert words[words.index("NoNewPrivs:") + 1] == "1", text


@check("seccomp: the default profile", "cri")
def seccomp(cri: Any) -> None:
    with cri.pod(**HOST_NETWORK) as pod:
        container = cri.launch(pod, "sleep", "1000", **linux(seccomp={"profile_type": 0}))
        assert (text := cri.exec(container, "grep", "Seccomp:", "/proc/1/status")).split()[1] == "2", text


@check("mounts, devices, environment", "cri")
def mounts(cri: Any) -> None:
    (cri.work / "config").write_text("configured\n")
    binds = [{"container_path": "/etc/config", "host_path": str(cri.work / "config"), "readonly": True}]
    devices = [{"container_path": "/dev/nothing", "host_path": "/dev/null", "permissions": "rw"}]
    with cri.pod(**HOST_NETWORK) as pod:
        more = {"mounts": binds, "devices": devices, "envs": [{"key": "A", "value": "b"}]}
        container = cri.launch(pod, "sleep", "1000", **more)
        text = cri.exec(
            container,
            "sh",
            "-c",
            "cat /etc/config; cat /dev/nothing; echo $A; echo x >/etc/config || echo refused",
        )
        assert text.split()[:2] == ["configured", "b"] and "refused" in text, text


@check("terminal", "cri")
def terminal(cri: Any) -> None:
    with cri.pod(**HOST_NETWORK) as pod:
        container = cri.launch(pod, "sh", "-c", "tty", tty=True)
        assert cri.finished(container)[0] == 0
        assert cri.text().strip() == "/dev/pts/0"


@check("one pid namespace for the pod; the node's", "cri")
def pid(cri: Any) -> None:
    options = {"network": 2, "pid": 0}
    with cri.pod(security_context={"namespace_options": options}) as pod:
        container = cri.launch(pod, "sleep", "1234", **linux(namespace_options=options))
        assert "sleep 1000000" in cri.exec(container, "ps")
    options = {"network": 2, "pid": 2}
    with cri.pod(security_context={"namespace_options": options}) as pod:
        container = cri.launch(pod, "sleep", "1234", **linux(namespace_options=options))
        assert "containerd" in cri.exec(container, "ps")


@check("sysctls", "cri", host.bridge)
def sysctls(cri: Any) -> None:
    with cri.pod(sysctls={"net.ipv4.ip_unprivileged_port_start": "81"}) as pod:
        container = cri.launch(pod, "sleep", "1000")
        assert cri.exec(container, "cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start") == "81"


@check("nothing is left of a removed pod", "cri")
def nothing_left(cri: Any) -> None:
    with cri.pod(**HOST_NETWORK) as pod:
        container = cri.launch(pod, "sleep", "1000")
        assert [cgroup for cgroup in cri.sandbox.cgroups() if container in cgroup]
    assert not [cgroup for cgroup in cri.sandbox.cgroups() if container in cgroup or pod[0] in cgroup]
