"""What `process` asks for can't be had."""

from __future__ import annotations

from typing import Any

from tests.failures import Group
from tests.integration.harness import Container, user_namespace

group = Group("The process")


def process(container: Container, **values: Any) -> None:
    container.config["process"].update(values)


@group.case(
    "a working directory that is a file",
    subject="/etc/passwd",
    place="process.cwd",
    cause="a file is where process.cwd needs a directory",
    remedy="correct the path or the image",
)
def _(container: Container) -> None:
    process(container, cwd="/etc/passwd")


@group.case(
    "a relative working directory",
    subject="app",
    place="process.cwd",
    cause='is "app"',
    remedy="must be an absolute path",
)
def _(container: Container) -> None:
    process(container, cwd="app")


@group.case(
    "a terminal without a console socket",
    subject="console socket",
    place="process.terminal",
    cause="cannot allocate tty",
    remedy="give --console-socket, or set process.terminal to false",
    reported="runc#1580",
    verb="run",
    options=("--detach",),
)
def _(container: Container) -> None:
    process(container, terminal=True)


@group.case(
    "a console socket that nobody listens on",
    subject="/nobody.sock",
    place="--console-socket",
    cause="does not exist",
    remedy="start the program that receives the terminal before",
    options=("--detach", "--console-socket", "/nobody.sock"),
)
def _(container: Container) -> None:
    process(container, terminal=True)


@group.case(
    "a console socket without a terminal",
    subject="console socket",
    place="process.terminal",
    cause="cannot use console socket",
    remedy="set process.terminal to true, or leave --console-socket out",
    options=("--detach", "--console-socket", "/nobody.sock"),
)
def _(container: Container) -> None:
    process(container, terminal=False)


@group.case(
    "more open files than the kernel allows",
    subject="RLIMIT_NOFILE",
    place="process.rlimits[0]",
    cause="ends at fs.nr_open",
    remedy="choose a lower one",
    reported="podman#7510",
)
def _(container: Container) -> None:
    process(container, rlimits=[{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 2**40}])


@group.case(
    "a soft limit above the hard one",
    subject="soft",
    place="process.rlimits[0].soft",
    cause="is above the hard limit 1024",
    remedy="soft limit 2048",
)
def _(container: Container) -> None:
    process(container, rlimits=[{"type": "RLIMIT_NOFILE", "soft": 2048, "hard": 1024}])


@group.case(
    "a limit that Linux does not have",
    subject="RLIMIT_NOFILES",
    place="process.rlimits[0].type",
    cause="is not a known value",
    remedy="did you mean RLIMIT_NOFILE",
)
def _(container: Container) -> None:
    process(container, rlimits=[{"type": "RLIMIT_NOFILES", "soft": 1, "hard": 1}])


@group.case(
    "a limit that is given twice",
    subject="RLIMIT_CORE",
    place="process.rlimits[1].type",
    cause="more than once",
    remedy="is there more than once",
)
def _(container: Container) -> None:
    process(container, rlimits=[{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}] * 2)


@group.case(
    "an AppArmor profile on a host without AppArmor",
    subject="docker-default",
    place="process.apparmorProfile",
    cause="AppArmor is not enabled on this host",
    remedy="remove process.apparmorProfile",
    reported="moby#40287",
)
def _(container: Container) -> None:
    process(container, apparmorProfile="docker-default")


@group.case(
    "an SELinux label on a host without SELinux",
    subject="container_t",
    place="process.selinuxLabel",
    cause="SELinux is not enabled on this host",
    remedy="remove process.selinuxLabel",
    reported="containerd#5864",
)
def _(container: Container) -> None:
    process(container, selinuxLabel="system_u:system_r:container_t:s0")


@group.case(
    "an OOM score out of range",
    subject="5000",
    place="process.oomScoreAdj",
    cause="is 5000",
    remedy="must be at most 1000",
)
def _(container: Container) -> None:
    process(container, oomScoreAdj=5000)


@group.case(
    "a user that is not mapped",
    subject="100000",
    place="process.user",
    cause="in no range of linux.uidMappings or linux.gidMappings",
    remedy="map it, or choose another user",
    reported="runc#774",
)
def _(container: Container) -> None:
    user_namespace(container.config, size=1000)
    process(container, user={"uid": 100000, "gid": 0})


@group.case(
    "a group that is not mapped",
    subject="100000",
    place="process.user.additionalGids",
    cause="a group is not in linux.gidMappings",
    remedy="map it, or leave it out",
    reported="runc#1529",
)
def _(container: Container) -> None:
    user_namespace(container.config, size=1000)
    process(container, user={"uid": 0, "gid": 0, "additionalGids": [100000]})


@group.case(
    "no arguments",
    subject="args",
    place="process.args",
    cause="at least one",
    remedy="must have at least one entry",
)
def _(container: Container) -> None:
    process(container, args=[])


@group.case(
    "an I/O priority out of range",
    subject="9",
    place="process.ioPriority.priority",
    cause="is 9",
    remedy="must be at most 7",
)
def _(container: Container) -> None:
    process(container, ioPriority={"class": "IOPRIO_CLASS_BE", "priority": 9})


@group.case(
    "a user by name",
    subject="'nobody'",
    place="--user",
    cause="not a user or group id",
    remedy="ids are numbers",
    verb="exec",
    options=("--user", "nobody"),
    arguments=("/bin/true",),
)
def _(container: Container) -> None:
    process(container, args=["/bin/sleep", "100"])
    container.started()


@group.case(
    "exec in a directory that is not there",
    subject="/no/such",
    place="process.cwd",
    cause="exec makes no working directory",
    remedy="give one that exists with --cwd",
    verb="exec",
    options=("--cwd", "/no/such"),
    arguments=("/bin/true",),
)
def _(container: Container) -> None:
    process(container, args=["/bin/sleep", "100"])
    container.started()
