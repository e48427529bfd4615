"""Who the process is, and what it may do: exactly what was asked for, and nothing where nothing was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.harness import CAPABILITY_SETS, Container, Runtime, peers_differ
from tests.security.attack import civil, make, nothing_left, own_directory

NOT_IDS = [-1, 4294967295, 4294967296, 2**63, 2**64, 1.0, 0.5, True, False, "0", "", "root", [0], {}, 1e30]


@pytest.mark.parametrize("key", ["uid", "gid", "additionalGids"])
@pytest.mark.parametrize("value", NOT_IDS, ids=repr)
def test_what_is_no_id_is_refused(runtime: Runtime, key: str, value: object) -> None:
    """4294967295 is -1, which setresuid(2) takes for "no change": the process would stay root."""
    peers_differ("crun", why="drops what has another type")
    container = runtime.container("/bin/id")
    container.config["process"]["user"][key] = [value] if key == "additionalGids" else value
    civil(container.run()).failed()
    nothing_left(container)


@pytest.mark.parametrize("uid", [0, 1, 1000, 65534, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 2])
def test_the_greatest_ids(runtime: Runtime, uid: int) -> None:
    container = runtime.sh("grep -E '^(Uid|Gid|Groups):' /proc/self/status | tr -s '\\t ' ' '")
    container.config["process"]["user"] = {"uid": uid, "gid": uid, "additionalGids": [uid]}
    uids, gids, groups = container.run().ok().lines
    assert uids.split()[1:] == [str(uid)] * 4
    assert gids.split()[1:] == [str(uid)] * 4
    assert groups.split()[1:] == [str(uid)]


@pytest.fixture(scope="module")
def sleeper(tmp_path_factory: pytest.TempPathFactory, rootfs: Path) -> Iterator[Container]:
    """A running container whose passwd file has users with the names of other users' numbers."""
    runtime = Runtime(tmp_path_factory.mktemp("sleeper"), rootfs)
    container = runtime.sleeper()
    etc = own_directory(container, "etc")
    (etc / "passwd").write_text("1000:x:0:0:evil:/:/bin/sh\n1:x:0:0::/:/bin/sh\nroot:x:0:0::/:/bin/sh\n")
    (etc / "group").write_text("1000:x:0:\n1:x:0:\n")
    yield container.started()
    runtime.clean()


@pytest.mark.parametrize(
    ("user", "expected"),
    [("1000", "1000"), ("1", "1"), ("1:1", "1"), ("0", "0"), ("4294967294", "4294967294")],
)
def test_a_number_is_a_number(sleeper: Container, user: str, expected: str) -> None:
    """CVE-2016-3697: passwd has a user whose name is a number, with another id."""
    assert sleeper.exec("id", "-u", options=("--user", user)).ok().stdout.strip() == expected


NOT_USERS = [
    "4294967295",
    "4294967296",
    "18446744073709551616",
    "99999999999999999999999",
    "-1",
    "+1",
    " 1",
    "1 ",
    "0x1",
    "1e1",
    "1.0",
    "1_0",
    "\u0661",
    "\u00b9",
    "root",
    "1:",
    "1:x",
    "1:-1",
    "1:4294967295",
    "1:4294967296",
    "1:2:3",
    ":",
    ":1",
    "1\n",
    "1,2",
]


@pytest.mark.parametrize("user", NOT_USERS, ids=repr)
def test_what_is_no_user_is_refused(sleeper: Container, user: str) -> None:
    """Never the user 0 by accident."""
    peers_differ("runc", "crun", why="wrap at 32 bits, or take the beginning")
    answer = civil(sleeper.exec("id", "-u", options=("--user", user)))
    answer.failed()
    assert answer.stdout == ""


@pytest.mark.parametrize("gid", ["4294967295", "4294967296", "-1", "x", "", "1.0"])
def test_what_is_no_group_is_refused(sleeper: Container, gid: str) -> None:
    peers_differ("runc", "crun", why="take some")
    civil(sleeper.exec("id", options=("--additional-gids", gid))).failed()


PASSWD = {
    "huge": "x:x:1:1::/:/bin/sh\n" * 400_000,
    "one line": "x" * 5_000_000,
    "NUL": "root:x:0:0\0:/:/bin/sh\n",
    "not UTF-8": "\udcff\udcfe:x:0:0::/:/bin/sh\n",
    "no fields": "::::::\n:\n\n",
    "negative": "root:x:-1:-1::/:/bin/sh\n",
    "great": "root:x:99999999999999999999:0::/:/bin/sh\n",
}
FILES = ["fifo", "socket", "directory", "dangling", "loop", "out", "null", "zero", "no such device", "block"]


@pytest.mark.parametrize("kind", [*PASSWD, *FILES])
@pytest.mark.parametrize("verb", ["run", "exec"])
def test_passwd_of_the_image_can_do_no_harm(runtime: Runtime, verb: str, kind: str) -> None:
    """Who a number is, is not looked up in the image; what is there is never waited for."""
    container = runtime.container("/bin/sleep", "100") if verb == "exec" else runtime.container("/bin/true")
    etc = own_directory(container, "etc")
    for name in ("passwd", "group"):
        if kind in PASSWD:
            (etc / name).write_bytes(PASSWD[kind].encode(errors="surrogateescape"))
        else:
            make(kind, etc / name, Path("/etc/passwd"))
    container.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    if verb == "run":
        container.run().ok()
    else:
        container.started()
        answer = container.exec("grep", "^Uid", "/proc/self/status", options=("--user", "1000"))
        assert answer.ok().stdout.split()[1:] == ["1000"] * 4


ALL = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]


def sets_of(container: Container) -> dict[str, int]:
    container.config["process"]["args"] = ["/bin/grep", "^Cap", "/proc/self/status"]
    lines = container.run().ok().lines
    return {name: int(value, 16) for name, value in (line.split(":") for line in lines)}


@pytest.mark.parametrize("uid", [0, 1000])
@pytest.mark.parametrize("absent", ["capabilities", "null", "empty", *CAPABILITY_SETS])
def test_an_absent_set_is_empty(runtime: Runtime, absent: str, uid: int) -> None:
    """Absent is none: not those of the runtime."""
    peers_differ("runc", "crun", why="have their own defaults")
    container = runtime.container()
    process = container.config["process"]
    process["user"] = {"uid": uid, "gid": uid}
    if absent == "capabilities":
        del process["capabilities"]
    elif absent in ("null", "empty"):
        process["capabilities"] = None if absent == "null" else {}
    else:
        del process["capabilities"][absent]
    if absent == "bounding":  # the kernel has nothing inherited that is not in it
        del process["capabilities"]["inheritable"], process["capabilities"]["ambient"]
    sets = sets_of(container)
    if absent not in CAPABILITY_SETS:
        assert set(sets.values()) == {0}, sets
    if absent == "bounding":
        assert sets["CapBnd"] == 0
    if absent in ("inheritable", "ambient"):
        assert sets["CapAmb"] == 0


@pytest.mark.parametrize("uid", [0, 1000])
def test_no_capability_is_inherited(runtime: Runtime, uid: int) -> None:
    container = runtime.container()
    container.config["process"]["user"] = {"uid": uid, "gid": uid}
    container.config["process"]["capabilities"] = {"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"]}
    sets = sets_of(container)
    assert (sets["CapInh"], sets["CapAmb"], sets["CapBnd"]) == (0, 0, 1 << 5)


@pytest.mark.parametrize(
    "name", ["CAP_NONE", "cap_kill", "KILL", "CAP_KILL ", "ALL", "*", "", "CAP_KILL\n", "63", "-1"]
)
def test_an_unknown_capability_gives_nothing(runtime: Runtime, name: str) -> None:
    """config.md: it is left out with a warning, or it is an error."""
    container = runtime.container("/bin/grep", "^Cap", "/proc/self/status")
    container.config["process"]["capabilities"] = {name_: [name] for name_ in CAPABILITY_SETS}
    answer = civil(container.run())
    if answer.status == 0:
        assert all(int(line.split()[1], 16) in (0, 1 << 5) for line in answer.lines), answer


@pytest.mark.parametrize("cap", ["CAP_NET_RAW", "CAP_SYS_ADMIN"])
def test_exec_cap_makes_nothing_inheritable(sleeper: Container, cap: str) -> None:
    """CVE-2022-29162."""
    lines = sleeper.exec("grep", "^Cap", "/proc/self/status", options=("--cap", cap)).ok().lines
    inheritable = next(line for line in lines if line.startswith("CapInh"))
    assert int(inheritable.split()[1], 16) & (1 << 13 | 1 << 21) == 0


@pytest.mark.parametrize("verb", ["run", "exec"])
@pytest.mark.parametrize("flag", [True, False])
def test_no_new_privileges(runtime: Runtime, verb: str, flag: bool) -> None:
    command = ("grep", "NoNewPrivs", "/proc/self/status")
    container = runtime.container(*command) if verb == "run" else runtime.sleeper()
    container.config["process"]["noNewPrivileges"] = flag
    answer = container.run() if verb == "run" else container.started().exec(*command)
    assert answer.ok().stdout.split()[1] == str(int(flag))


@pytest.mark.parametrize("verb", ["run", "exec"])
@pytest.mark.parametrize("new_privileges", [True, False])
@pytest.mark.parametrize("uid", [0, 1000])
def test_the_filter_is_there(runtime: Runtime, verb: str, new_privileges: bool, uid: int) -> None:
    """For exec too, for every user, with and without no_new_privs."""
    command = ("grep", "^Seccomp:", "/proc/self/status")
    container = runtime.container(*command) if verb == "run" else runtime.sleeper()
    process = container.config["process"]
    process["user"] = {"uid": uid, "gid": uid}
    process["noNewPrivileges"] = not new_privileges
    rule = {"names": ["reboot"], "action": "SCMP_ACT_ERRNO"}
    container.config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    answer = container.run() if verb == "run" else container.started().exec(*command)
    assert answer.ok().stdout.split()[1] == "2"


@pytest.mark.parametrize("groups", [[], [0], [1, 2, 3], list(range(1, 65)), [1] * 5])
def test_groups_are_those_that_were_asked_for(runtime: Runtime, groups: list[int]) -> None:
    """Those of the caller are not kept."""
    container = runtime.container("/bin/grep", "^Groups", "/proc/self/status")
    container.config["process"]["user"]["additionalGids"] = groups
    answer = container.run(prefix=("setpriv", "--groups", "5,6,7"))
    assert {int(g) for g in answer.ok().stdout.split()[1:]} == set(groups)
