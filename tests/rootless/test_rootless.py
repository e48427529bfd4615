"""Containers of an ordinary user: with and without subordinate ids, with and without a delegated cgroup.

They are run as that user. What needs a manager of systemd's is left out where the user has none.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.harness import PROGRAM, make_rootfs

pytestmark = pytest.mark.skipif(os.geteuid() == 0, reason="make rootless-test runs them as a user")
SYSTEMD = Path(f"/run/user/{os.geteuid()}/systemd/private").exists()
UNIFIED = Path("/sys/fs/cgroup/cgroup.controllers").exists()


class User:
    """What a user has: a directory, a rootfs, and the runtime with its state below that directory."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.bundle = home / "bundle"
        self.bundle.mkdir()
        make_rootfs(self.bundle / "rootfs")
        self.id = f"pyrunc-test-{uuid.uuid4().hex[:12]}"
        self("spec", "--rootless", "--bundle", str(self.bundle))
        self.config = json.loads((self.bundle / "config.json").read_text())
        self.config["process"]["terminal"] = False
        self.config["root"]["readonly"] = False

    def __call__(self, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [PROGRAM, "--root", str(self.home / "state"), *args]
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, stdin=subprocess.DEVNULL)
        assert not check or done.returncode == 0, done
        return done

    def run(self, script: str, check: bool = True) -> Any:
        self.config["process"]["args"] = ["sh", "-c", script]
        (self.bundle / "config.json").write_text(json.dumps(self.config))
        return self("run", "--bundle", str(self.bundle), self.id, check=check)

    def background(self, script: str, *options: str) -> None:
        with (self.home / "output").open("w") as out:
            self.config["process"]["args"] = ["sh", "-c", script]
            (self.bundle / "config.json").write_text(json.dumps(self.config))
            command = [PROGRAM, "--root", str(self.home / "state"), *options, "run", "--detach"]
            command += ["--bundle", str(self.bundle), self.id]
            done = subprocess.run(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, timeout=90)
        assert done.returncode == 0, (self.home / "output").read_text()

    def maps_only_himself(self) -> None:
        for key, own in (("uidMappings", os.geteuid()), ("gidMappings", os.getegid())):
            self.config["linux"][key] = [{"containerID": 0, "hostID": own, "size": 1}]


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    user = User(tmp_path)
    yield user
    user("delete", "--force", user.id, check=False)


def test_root_of_the_container_is_the_user(user: User) -> None:
    user.maps_only_himself()
    answer = user.run("id -u; touch /tmp/mine; cat /proc/self/setgroups")
    assert answer.stdout.split() == ["0", "deny"]
    assert (user.bundle / "rootfs/tmp/mine").stat().st_uid == os.geteuid()


def test_spec_maps_the_subordinate_ids(user: User) -> None:
    if (
        not shutil.which("newuidmap")
        or pwd.getpwuid(os.geteuid()).pw_name not in Path("/etc/subuid").read_text()
    ):
        pytest.skip("this user has no subordinate ids")
    own, *rest = user.config["linux"]["uidMappings"]
    assert own == {"containerID": 0, "hostID": os.geteuid(), "size": 1} and rest
    for name in ("bounding", "effective", "permitted"):
        user.config["process"]["capabilities"][name].append("CAP_CHOWN")
    answer = user.run("touch /tmp/f && chown 1000:1000 /tmp/f && stat -c %u:%g /tmp/f")
    assert answer.stdout.strip() == "1000:1000"
    assert (user.bundle / "rootfs/tmp/f").stat().st_uid == rest[0]["hostID"] + 999
    user.run("rm /tmp/f")


def test_ids_that_are_not_the_users_are_refused_with_the_remedy(user: User) -> None:
    user.config["linux"]["uidMappings"] = [{"containerID": 0, "hostID": 0, "size": 10}]
    answer = user.run("true", check=False)
    assert answer.returncode == 1 and "linux.uidMappings" in answer.stderr and "/etc/subuid" in answer.stderr


def test_binds_are_made_as_the_user(user: User) -> None:
    (user.home / "data").mkdir()
    (user.home / "data/file").write_text("content")
    for number, options in enumerate((["bind"], ["rbind", "ro"], ["bind", "rprivate"])):
        mount = {"destination": f"/d{number}", "source": str(user.home / "data"), "options": options}
        user.config["mounts"].append(mount)
    answer = user.run("cat /d0/file /d1/file /d2/file; touch /d0/new; touch /d1/no || true")
    assert answer.stdout == "content" * 3
    assert (user.home / "data/new").exists() and not (user.home / "data/no").exists()


def test_a_whole_life(user: User) -> None:
    user.background("sleep 100")
    assert json.loads(user("state", user.id).stdout)["status"] == "running"
    assert user("exec", user.id, "id", "-u").stdout == "0\n"
    user("kill", user.id, "KILL")
    user("delete", "--force", user.id)
    assert user("state", user.id, check=False).returncode == 1


def test_without_a_cgroup_limits_are_an_error(user: User) -> None:
    user.config["linux"]["resources"] = {"memory": {"limit": 64 << 20}}
    user.config["linux"]["cgroupsPath"] = "/not-for-users"
    answer = user.run("true", check=False)
    assert answer.returncode == 1 and "no permission" in answer.stderr and "hint" in answer.stderr


def test_the_state_is_below_the_runtime_directory(user: User) -> None:
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(user.home)}
    command = [PROGRAM, "run", "--bundle", str(user.bundle), user.id]
    user.config["process"]["args"] = ["true"]
    (user.bundle / "config.json").write_text(json.dumps(user.config))
    subprocess.run(command, env=environment, check=True, timeout=90, stdin=subprocess.DEVNULL)
    assert (user.home / "pyrunc").is_dir()


def test_in_a_container_of_his_own(user: User) -> None:
    """The user runs the runtime once more, in a container that shows him this machine's files."""
    inner = json.loads(json.dumps(user.config))
    inner["linux"]["namespaces"] = [{"type": name} for name in ("pid", "ipc", "uts", "mount", "user")]
    for key in ("uidMappings", "gidMappings"):
        inner["linux"][key] = [{"containerID": 0, "hostID": 0, "size": 1}]
    inner["mounts"] = [each for each in inner["mounts"] if each["destination"] == "/dev"]
    inner["process"].update(args=["echo", "from within"], capabilities={})
    inner["root"]["path"] = str(user.bundle / "rootfs")
    (user.home / "inner").mkdir()
    (user.home / "inner/config.json").write_text(json.dumps(inner))
    user.maps_only_himself()
    user.config["root"]["path"] = str(user.home / "outer")
    (user.home / "outer").mkdir()
    for name in ("bin", "lib", "lib64"):
        (user.home / "outer" / name).symlink_to(f"usr/{name}")
    runtime = Path(PROGRAM).parent.parent
    for path in dict.fromkeys(("/usr", str(runtime), str(user.home))):
        user.config["mounts"].append({"destination": path, "source": path, "options": ["rbind"]})
    for name in ("bounding", "effective", "permitted"):
        user.config["process"]["capabilities"][name] += ["CAP_SYS_ADMIN", "CAP_SETFCAP", "CAP_SETUID"]
    state = user.home / "inner-state"
    answer = user.run(f"{PROGRAM} --root {state} run --bundle {user.home}/inner {user.id}-in", check=False)
    assert answer.stdout == "from within\n", answer


DELEGATED = UNIFIED and os.access(
    Path("/sys/fs/cgroup" + Path("/proc/self/cgroup").read_text().rpartition("0::")[2].strip()).parent,
    os.W_OK,
)
systemd = pytest.mark.skipif(not (SYSTEMD and UNIFIED), reason="this user has no manager of systemd's")


def cgroup_of(user: User) -> Path:
    pid = json.loads(user("state", user.id).stdout)["pid"]
    return Path("/sys/fs/cgroup") / Path(f"/proc/{pid}/cgroup").read_text().strip().removeprefix("0::/")


@systemd
def test_limits_by_the_users_manager(user: User) -> None:
    user.config["linux"]["resources"] = {"memory": {"limit": 64 << 20}, "pids": {"limit": 20}}
    user.config["linux"]["cgroupsPath"] = f"user.slice:pyrunc:{user.id}"
    user.background("sleep 100", "--systemd-cgroup")
    directory = cgroup_of(user)
    assert directory.name == f"pyrunc-{user.id}.scope"
    assert (directory / "memory.max").read_text().strip() == str(64 << 20)
    # Also from a login session, from where the user may move nobody into his manager's cgroups.
    assert user("exec", user.id, "cat", "/proc/self/cgroup").stdout == "0::/\n"
    user("pause", user.id)
    user("resume", user.id)
    user("delete", "--force", user.id)
    assert not directory.exists()


@pytest.mark.skipif(not DELEGATED, reason="the cgroup that the tests are run in is not this user's")
def test_limits_in_a_delegated_cgroup(user: User) -> None:
    """cgroupfs: a sibling of our own cgroup, which the user's manager delegated."""
    user.config["linux"]["resources"] = {"pids": {"limit": 20}}
    user.background("sleep 100")
    assert (cgroup_of(user) / "pids.max").read_text().strip() == "20"
