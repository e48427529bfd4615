"""Images, pods, checkpoints; Buildah."""

from __future__ import annotations

import contextlib
import json

from .. import host
from ..engine import Engine, ok
from ..images import IMAGE
from . import check

BOTH = "podman docker"


def context(engine: Engine, name: str, *lines: str) -> str:
    """A folder with a Dockerfile."""
    folder = engine.work / name
    folder.mkdir()
    (folder / "Dockerfile").write_text("\n".join((f"FROM {IMAGE}", *lines, "")))
    return str(folder)


@check("build", BOTH)
def build(engine: Engine) -> None:
    folder = context(
        engine, "build", "RUN echo built >/made && id -u >>/made", "USER guest", 'CMD ["cat", "/made"]'
    )
    ok(engine("build", "--network", "none", "-t", "localhost/made", folder))
    assert engine.output("localhost/made") == "built\n0"


@check("build: a step that fails", BOTH)
def build_fails(engine: Engine) -> None:
    done = engine("build", "--network", "none", context(engine, "fails", "RUN exit 42"))
    assert done.returncode != 0 and "42" in done.stderr + done.stdout


@check("pod", "podman", host.bridge)
def pod(engine: Engine) -> None:
    name = engine.new_name()
    own = "--cgroup-parent", f"/{engine.sandbox.name}"
    pause = "--infra-image", IMAGE, "--infra-command", "sleep 1000"
    ok(engine("pod", "create", "--name", name, *own, *pause))
    try:
        serve = "httpd", "-f", "-p", "80", "-h", "/etc"
        ok(engine("run", "-d", "--pod", name, IMAGE, *serve))
        done = engine("run", "--rm", "--pod", name, IMAGE, "wget", "-q", "-O", "-", "http://127.0.0.1/passwd")
        assert ok(done).startswith("root:")
        ok(engine("pod", "pause", name))
        ok(engine("pod", "unpause", name))
        ok(engine("pod", "stop", "-t", "0", name))
        ok(engine("pod", "start", name))
    finally:
        ok(engine("pod", "rm", "-f", "-t", "0", name))


@check("pod: one pid namespace", "podman")
def pod_pid(engine: Engine) -> None:
    name = engine.new_name()
    own = "--cgroup-parent", f"/{engine.sandbox.name}", "--network", "none", "--share", "pid,ipc,uts"
    ok(engine("pod", "create", "--name", name, *own, "--infra-image", IMAGE, "--infra-command", "sleep 1234"))
    try:
        assert "sleep 1234" in ok(engine("run", "--rm", "--pod", name, IMAGE, "ps"))
    finally:
        ok(engine("pod", "rm", "-f", "-t", "0", name))


@check("kube play", "podman", slow=True)
def kube(engine: Engine) -> None:
    container = {"name": "one", "image": IMAGE, "command": ["sleep", "1000"]}
    spec = {"hostNetwork": True, "containers": [container]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "played"}, "spec": spec}
    file = engine.work / "pod.yaml"
    file.write_text(json.dumps(pod))
    # The infra image of podman would have to be built from its own pause; kube play has no option for it.
    done = engine("kube", "play", str(file))
    try:
        ok(done)
        assert ok(engine("exec", "played-one", "echo", "hi")) == "hi\n"
    finally:
        engine("kube", "down", str(file))


COUNT = ("sh", "-c", "i=0; while :; do i=$((i + 1)); echo $i >/tmp/count; sleep 0.1; done")


@check("checkpoint, restore", "podman", host.criu, slow=True)
def checkpoint(engine: Engine) -> None:
    with engine.container(command=COUNT) as name:
        ok(engine("container", "checkpoint", name))
        ok(engine("container", "restore", name))
        engine.until("running 0", name)
        ok(engine("exec", name, "test", "-s", "/tmp/count"))


@check("checkpoint --leave-running, --export, restore --import", "podman", host.criu, slow=True)
def checkpoint_export(engine: Engine) -> None:
    archive = str(engine.work / "checkpoint.tar.gz")
    with engine.container(command=COUNT) as name:
        ok(engine("container", "checkpoint", "--leave-running", "--export", archive, name))
        assert engine.status(name) == "running 0"
    again = engine.new_name()
    try:
        ok(engine("container", "restore", "--import", archive, "--name", again))
        engine.until("running 0", again)
        ok(engine("exec", again, "test", "-s", "/tmp/count"))
    finally:
        engine("rm", "-f", *engine.at_once, again)


@check("checkpoint, restore with a terminal", "podman", host.criu, slow=True)
def checkpoint_terminal(engine: Engine) -> None:
    with engine.container("-t", command=COUNT) as name:
        ok(engine("container", "checkpoint", name))
        ok(engine("container", "restore", name))
        engine.until("running 0", name)
        assert ok(engine("exec", name, "readlink", "/proc/1/fd/1")) == "/dev/pts/0\n"


@check("checkpoint, start --checkpoint", "docker", host.criu, slow=True)
def docker_checkpoint(engine: Engine) -> None:
    with engine.container(command=COUNT) as name:
        ok(engine("checkpoint", "create", name, "one"))
        engine.until("exited 137", name)
        # docker stores the checkpoint in containerd a second time, and trips over the first.
        contents = ("ctr", "-a", f"{engine.work}/cd.sock", "-n", "moby", "content")
        for digest in ok(engine.sandbox.run(*contents, "ls", "-q")).split():
            ok(engine.sandbox.run(*contents, "rm", digest))
        ok(engine("start", "--checkpoint", "one", name))
        engine.until("running 0", name)


@contextlib.contextmanager
def working(engine: Engine) -> object:
    name = ok(engine.sandbox.run("buildah", "from", IMAGE)).strip()
    try:
        yield name
    finally:
        engine.sandbox.run("buildah", "rm", name)


def buildah(engine: Engine, *words: str) -> list[str]:
    return ["buildah", "run", "--runtime", engine.runtime, "--network", "none", *words]


@check("buildah run", "podman")
def buildah_run(engine: Engine) -> None:
    with working(engine) as name:
        done = engine.sandbox.run(*buildah(engine, name, "--", "sh", "-c", "echo hi; exit 4"))
        assert (done.stdout, done.returncode) == ("hi\n", 4), done.stderr


@check("buildah run --tty", "podman")
def buildah_tty(engine: Engine) -> None:
    with working(engine) as name:
        done = engine.sandbox.on_terminal(*buildah(engine, "--tty", name, "--", "tty"))
        assert done.stdout.startswith("/dev/"), done.stdout


@check("buildah run: volume, user, capabilities", "podman")
def buildah_settings(engine: Engine) -> None:
    share = engine.work / "buildah-share"
    share.mkdir()
    with working(engine) as name:
        options = "--volume", f"{share}:/data", "--cap-drop", "CAP_CHOWN", "--hostname", "builder"
        script = "touch /data/x; hostname; chown guest /data/x || echo refused"
        done = engine.sandbox.run(*buildah(engine, *options, name, "--", "sh", "-c", script))
        assert ok(done) == "builder\nrefused\n", done.stderr
    assert (share / "x").exists()


@check("buildah build", "podman")
def buildah_build(engine: Engine) -> None:
    folder = context(engine, "bud", "RUN echo bud >/made")
    words = "build", "--runtime", engine.runtime, "--network", "none", "-t", "localhost/bud", folder
    ok(engine.sandbox.run("buildah", *words))
    assert engine.output("localhost/bud", "cat", "/made") == "bud"
