"""process.selinuxLabel and linux.mountLabel, on a host that has SELinux."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.harness import Container, Runtime, cgroups_of, peers_differ, user_namespace

ENFORCE = Path("/sys/fs/selinux/enforce")
LABEL = "system_u:system_r:container_t:s0:c1,c2"
OTHER = "system_u:system_r:container_t:s0:c3,c4"
FILES = "system_u:object_r:container_file_t:s0:c1,c2"
ANOTHER = "system_u:object_r:container_file_t:s0:c5,c6"
WRONG = "system_u:system_r:nobody_has_this_t:s0"
ATTRIBUTES = ("exec", "keycreate", "sockcreate", "fscreate")

pytestmark = pytest.mark.skipif(not ENFORCE.exists(), reason="this host has no SELinux")

# Prints the label of the session keyring: KEYCTL_GET_SECURITY.
KEYRING = r"""
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void) {
  char label[256] = "";
  if (syscall(SYS_keyctl, 17, -3, label, sizeof label) < 0)
    perror("keyctl");
  puts(label);
}
"""


def labelled(container: Container, mounts: str = FILES) -> Container:
    container.config["process"]["selinuxLabel"] = LABEL
    container.config["linux"]["mountLabel"] = mounts
    return container


def label_of(path: str) -> str:
    return os.getxattr(path, "security.selinux").decode().rstrip("\0")


def inside(container: Container, path: str) -> str:
    """The label of a file as it is in the container."""
    return label_of(f"/proc/{container.pid}/root{path}")


def nothing_left(container: Container) -> None:
    container.runtime("state", container.id).failed()
    assert cgroups_of(container.id) == []


def test_the_process_has_its_label_and_no_other_attribute(runtime: Runtime) -> None:
    files = " ".join(f"/proc/self/attr/{name}" for name in ("current", *ATTRIBUTES))
    answer = labelled(runtime.container("/bin/cat", *files.split())).run().ok()
    assert answer.stdout.replace("\0", "\n").splitlines() == [LABEL]


def test_create_and_start(runtime: Runtime) -> None:
    container = labelled(runtime.sleeper()).started()
    assert Path(f"/proc/{container.pid}/attr/current").read_text().rstrip("\0") == LABEL


def test_exec_is_under_the_label_too(runtime: Runtime) -> None:
    container = labelled(runtime.sleeper()).started()
    answer = container.exec("cat", "/proc/self/attr/current", *(f"/proc/self/attr/{a}" for a in ATTRIBUTES))
    assert answer.ok().stdout.rstrip("\0") == LABEL


def test_exec_may_have_another_label(runtime: Runtime) -> None:
    container = labelled(runtime.sleeper()).started()
    answer = container.exec("cat", "/proc/self/attr/current", options=("--process-label", OTHER))
    assert answer.ok().stdout.rstrip("\0") == OTHER


def test_exec_of_a_process_file_may_have_another_label(runtime: Runtime, tmp_path: Path) -> None:
    container = labelled(runtime.sleeper()).started()
    process = dict(container.config["process"], args=["cat", "/proc/self/attr/current"], selinuxLabel=OTHER)
    file = tmp_path / "process.json"
    file.write_text(json.dumps(process))
    answer = container.exec(options=("--process", str(file)))
    assert answer.ok().stdout.rstrip("\0") == OTHER


@pytest.fixture(scope="module")
def keyring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("keyring")
    (directory / "keyring.c").write_text(KEYRING)
    program = directory / "keyring"
    subprocess.run(["gcc", "-static", "-o", program, directory / "keyring.c"], check=True)
    return program


def test_the_session_keyring_has_the_label_of_the_process(runtime: Runtime, keyring: Path) -> None:
    peers_differ("crun", why="exec stays in the keyring of its caller")
    container = labelled(runtime.sleeper())
    mount = {"destination": "/keyring", "type": "bind", "source": str(keyring), "options": ["bind"]}
    container.config["mounts"].append(mount)
    container.started()
    assert container.exec("/keyring").ok().lines == [LABEL]
    again = labelled(runtime.container("/keyring"))
    again.config["mounts"].append(mount)
    assert again.run().ok().lines == [LABEL]


def test_new_file_systems_have_the_label_of_mounts(runtime: Runtime) -> None:
    container = labelled(runtime.sleeper())
    container.config["mounts"].append({"destination": "/scratch", "type": "tmpfs", "source": "tmpfs"})
    container.started()
    container.exec("touch", "/scratch/file").ok()
    for path in ("/dev", "/dev/null", "/dev/shm", "/dev/pts", "/scratch", "/scratch/file"):
        assert inside(container, path) == FILES, path


def test_message_queues_have_the_label_of_mounts(runtime: Runtime) -> None:
    container = labelled(runtime.sleeper())
    container.config["mounts"].append({"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue"})
    container.started()
    assert inside(container, "/dev/mqueue") == FILES


def test_the_terminal_has_the_label_of_mounts(runtime: Runtime) -> None:
    container = labelled(runtime.sleeper()).started()
    assert inside(container, "/dev/pts/ptmx") == FILES


def test_file_systems_of_the_kernel_keep_their_labels(runtime: Runtime) -> None:
    container = labelled(runtime.sleeper()).started()
    assert ":proc_t:" in inside(container, "/proc/version")
    assert ":sysfs_t:" in inside(container, "/sys/kernel")


def test_a_mask_has_the_label_of_mounts(runtime: Runtime) -> None:
    container = labelled(runtime.sleeper())
    container.config["linux"]["maskedPaths"] = ["/proc/tty"]
    container.started()
    assert inside(container, "/proc/tty") == FILES


def test_a_bind_mount_keeps_its_label(runtime: Runtime, tmp_path: Path) -> None:
    before = label_of(str(tmp_path))
    container = labelled(runtime.sleeper())
    container.config["mounts"].append(
        {"destination": "/bound", "type": "bind", "source": str(tmp_path), "options": ["rbind"]}
    )
    container.started()
    assert inside(container, "/bound") == before == label_of(str(tmp_path))


@pytest.mark.parametrize("option", [f"context={ANOTHER}", f'context="{ANOTHER}"'])
def test_the_context_that_a_mount_has_itself_stays(runtime: Runtime, option: str) -> None:
    peers_differ("runc", "crun", why="add the label of mounts to it, which the kernel refuses")
    container = labelled(runtime.sleeper())
    container.config["mounts"].append(
        {"destination": "/scratch", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m", option]}
    )
    container.started()
    assert inside(container, "/scratch") == ANOTHER


@pytest.mark.parametrize("option", [f'context="{ANOTHER}"', f'rootcontext="{ANOTHER}"'])
def test_a_context_without_a_label_of_mounts(runtime: Runtime, option: str) -> None:
    container = runtime.sleeper()
    container.config["mounts"].append(
        {"destination": "/scratch", "type": "tmpfs", "source": "tmpfs", "options": [option]}
    )
    container.started()
    assert inside(container, "/scratch") == ANOTHER


def test_a_label_beside_options_that_only_mount_takes(runtime: Runtime) -> None:
    peers_differ("crun", why="gives the option to the file system, which refuses it")
    container = labelled(runtime.sleeper())
    container.config["mounts"].append(
        {"destination": "/scratch", "type": "tmpfs", "source": "tmpfs", "options": ["silent", "size=1m"]}
    )
    container.started()
    assert inside(container, "/scratch") == FILES


def test_labels_with_a_user_namespace(runtime: Runtime) -> None:
    container = labelled(runtime.sleeper())
    user_namespace(container.config)
    container.config["mounts"].append({"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue"})
    container.config["linux"]["maskedPaths"] = ["/proc/tty"]
    os.chmod(runtime.tmp, 0o755)
    container.started()
    assert container.exec("cat", "/proc/self/attr/current").ok().stdout.rstrip("\0") == LABEL
    for path in ("/dev", "/dev/shm", "/dev/pts", "/dev/mqueue", "/proc/tty"):
        assert inside(container, path) == FILES, path


@pytest.mark.parametrize("label", [WRONG, "nonsense"])
def test_a_label_that_the_policy_does_not_know(runtime: Runtime, label: str) -> None:
    container = runtime.sleeper()
    container.config["process"]["selinuxLabel"] = label
    container.create().failed()
    said = container.printed() + container.run().failed().stderr
    nothing_left(container)
    if "pyrunc" in runtime("--version").stdout:
        assert "process.selinuxLabel" in said and label in said and "policy" in said


def test_a_label_of_mounts_that_the_policy_does_not_know(runtime: Runtime) -> None:
    container = labelled(runtime.sleeper(), WRONG)
    said = container.run().failed().stderr
    nothing_left(container)
    if "pyrunc" in runtime("--version").stdout:
        assert "linux.mountLabel" in said and WRONG in said


def test_a_label_that_the_policy_does_not_know_in_exec(runtime: Runtime) -> None:
    container = labelled(runtime.sleeper()).started()
    container.exec("true", options=("--process-label", WRONG)).failed()
    assert container.status == "running"
    container.exec("true").ok()


@pytest.fixture
def enforcing() -> Iterator[None]:
    before = ENFORCE.read_text()
    ENFORCE.write_text("1")
    yield
    ENFORCE.write_text(before)


def test_what_the_policy_denies_is_denied(runtime: Runtime, enforcing: None) -> None:
    """container_t reads files of its own categories only, and no file of the host's types."""
    peers_differ("runc", why="its mounts of the rootfs' parents are denied by Debian's policy")
    script = "cat /right /categories /host; echo x >/dev/shm/new && echo wrote; ls /proc/tty && echo hidden"
    container = labelled(runtime.sh(f"exec >/output 2>&1; {script}"))
    container.config["process"]["noNewPrivileges"] = False  # with it a policy must allow the transition twice
    container.config["linux"]["maskedPaths"] = ["/proc/tty"]
    for name in ("right", "categories", "host", "output"):
        (container.rootfs / name).write_text(f"{name}\n")
    for directory, _, names in os.walk(container.rootfs):
        for path in (directory, *(f"{directory}/{name}" for name in names)):
            os.setxattr(path, "security.selinux", FILES.encode(), follow_symlinks=False)
    os.setxattr(container.rootfs / "categories", "security.selinux", ANOTHER.encode())
    os.setxattr(container.rootfs / "host", "security.selinux", b"system_u:object_r:shadow_t:s0")
    answer = container.run()
    said = (container.rootfs / "output").read_text()
    assert said.startswith("right\n"), (said, answer)
    assert said.count("Permission denied") == 2 and "wrote" in said and "hidden" in said, said
    assert label_of(str(container.rootfs / "output")) == FILES


@pytest.mark.parametrize(
    ("kind", "hint"),
    [("bin_t", "does not let /bin/busybox run under process.selinuxLabel"), ("shadow_t", "security module")],
    ids=["for the container", "for the runtime"],
)
def test_a_program_that_the_policy_denies(runtime: Runtime, enforcing: None, kind: str, hint: str) -> None:
    container = runtime.container("/bin/busybox", "true")
    container.config["process"].update(noNewPrivileges=False, selinuxLabel=LABEL)
    program = container.rootfs / "bin" / "busybox"
    copied = program.read_bytes()
    program.unlink()
    program.write_bytes(copied)
    program.chmod(0o755)
    os.setxattr(program, "security.selinux", f"system_u:object_r:{kind}:s0".encode())
    said = container.run().failed().stderr
    nothing_left(container)
    if "pyrunc" in runtime("--version").stdout:
        assert hint in said
