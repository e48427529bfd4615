"""Facts about the host, as one process sees them. Read only when something was refused."""

from __future__ import annotations

import posix

from pyrunc import mountinfo
from pyrunc.mountinfo import Mount
from pyrunc.state_directory import read_to_end

_ADMIN = 21  # CAP_SYS_ADMIN


class Host:
    """What the host says of a process (0: this one). ``root`` is where / is; tests make up their own."""

    __slots__ = ("root", "process")

    def __init__(self, pid: int = 0, root: str = "") -> None:
        self.root = root
        self.process = f"/proc/{pid}" if pid > 0 else "/proc/self"
        if pid > 0 and not self.text(f"{self.process}/status"):
            self.process = "/proc/self"  # it has gone

    def text(self, path: str) -> str:
        """A file's text; "" if it can't be read."""
        try:
            return read_to_end(self.root + path).decode("utf-8", "replace").strip()
        except OSError:
            return ""

    def is_zero(self, path: str) -> bool:
        return self.text(path) == "0"

    def status(self, key: str) -> str:
        """A field of proc_pid_status(5)."""
        for line in self.text(f"{self.process}/status").splitlines():
            name, _, value = line.partition(":")
            if name == key:
                return value.strip()
        return ""

    @property
    def kernel(self) -> tuple[int, int]:
        """Version and patch level."""
        release = self.text("/proc/sys/kernel/osrelease") or posix.uname().release
        numbers = release.split("-")[0].split(".")
        return int(numbers[0]), int(numbers[1])

    @property
    def filtered(self) -> bool:
        """Whether a seccomp filter is around the process: an outer container's, for one."""
        return self.status("Seccomp") == "2"

    @property
    def privileged(self) -> bool:
        """Whether the process has CAP_SYS_ADMIN, of whatever user namespace it is in."""
        return bool(int(self.status("CapEff") or "0", 16) >> _ADMIN & 1)

    def capabilities(self, which: str) -> list[str]:
        """The names in a set of the process: "CapEff", "CapBnd", …"""
        from pyrunc.vocabulary.capabilities import CAPABILITIES

        mask = int(self.status(which) or "0", 16)
        return [name for name, number in CAPABILITIES.items() if mask >> number & 1]

    def namespaces(self) -> list[str]:
        """The kinds that this kernel has, by the words of the specification."""
        from pyrunc.vocabulary.namespaces import NAMESPACE_FILES

        try:
            there = posix.listdir(f"{self.root}{self.process}/ns")
        except OSError:
            return []
        return [kind for kind, file in NAMESPACE_FILES.items() if file in there]

    def knows_file_system(self, kind: str) -> bool:
        """Whether it can be mounted: it is in the kernel, or there is a module of its name."""
        lines = self.text("/proc/filesystems").splitlines()
        if any(line.split()[-1:] == [kind] for line in lines):
            return True
        release = self.text("/proc/sys/kernel/osrelease")
        modules = self.text(f"/lib/modules/{release}/modules.dep").splitlines()
        name = kind.replace("-", "_")
        return any(
            line.split(":")[0].rpartition("/")[2].split(".")[0].replace("-", "_") == name for line in modules
        )

    @property
    def apparmor(self) -> bool:
        return self.text("/sys/module/apparmor/parameters/enabled") == "Y"

    @property
    def selinux(self) -> bool:
        return bool(self.text("/sys/fs/selinux/enforce"))

    @property
    def in_user_namespace(self) -> bool:
        """Whether the process is in another than the host's first user namespace."""
        return self.text(f"{self.process}/uid_map").split() != ["0", "0", "4294967295"]

    def mounts(self) -> list[Mount]:
        """The mounts that the process sees; [] if they can't be read."""
        try:
            return mountinfo.read(self.root + self.process)
        except OSError:
            return []

    def mount_of(self, path: str) -> Mount | None:
        """The mount that a path (absolute, without links) is on."""
        found = None
        for mount in self.mounts():
            above = mount.point.rstrip("/") + "/"
            if (path.rstrip("/") + "/").startswith(above) and (
                not found or len(mount.point) >= len(found.point)
            ):
                found = mount
        return found

    def hidden_below(self, path: str) -> list[str]:
        """What is mounted below a path: for /proc, what an outer container hides of it."""
        return [mount.point for mount in self.mounts() if mount.point.startswith(path.rstrip("/") + "/")]
