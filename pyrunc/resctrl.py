"""linux.intelRdt: the container's class of service, and its monitoring group, in the resctrl file system.

config-linux.md, IntelRdt. A class of service (CLOS) is a directory; its file `tasks` holds the processes.
"""

from __future__ import annotations

import errno
import posix

from pyrunc import mountinfo
from pyrunc.errors import Error
from pyrunc.state_directory import read_file, write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.spec import Object


class Resctrl:
    """What intelRdt asks for.

    clos: directory of the class of service. monitoring: directory of the monitoring group, or "".
    schemata: the lines to write. makes: the directories that create has to make.
    made: those that it has made.
    removes: those that delete removes; a class of service that has a name stays.
    """

    __slots__ = ("clos", "monitoring", "schemata", "makes", "made", "removes")

    def __init__(self, rdt: Object, id: str, root: str) -> None:
        """``rdt``: linux.intelRdt; ``root``: mount point of resctrl. Nothing is made. Raises Error."""
        name = rdt.text("closID")
        self.clos = root if name == "/" else f"{root}/{name or id}"
        self.monitoring = f"{self.clos}/mon_groups/{id}" if rdt.flag("enableMonitoring") else ""
        given = [rdt.text("l3CacheSchema"), rdt.text("memBwSchema"), *rdt.texts("schemata")]
        self.schemata = [line for line in given if line]
        self.makes: list[str] = []
        self.made: list[str] = []
        if not _is_directory(self.clos):
            if name and not self.schemata:
                raise _error(
                    f"the class of service {name} does not exist",
                    rdt.at("closID"),
                    name,
                    errno.ENOENT,
                    "make it, or give its schema",
                )
            self.makes.append(self.clos)
        elif self.schemata:
            self._compare(rdt)
        if self.monitoring:
            if _is_directory(self.monitoring):
                raise _unmade(self.monitoring, rdt.at("enableMonitoring"), errno.EEXIST)
            self.makes.append(self.monitoring)
        self.removes = [path for path in self.makes if path != self.clos or not name]

    def _compare(self, rdt: Object) -> None:
        """A class that is there must have the schemata that are asked for: config-linux.md, closID."""
        present = parse(_read(f"{self.clos}/schemata", rdt.path).splitlines())
        for resource, domains in parse(self.schemata).items():
            for domain, value in domains.items():
                found = present.get(resource, {}).get(domain)
                if found != value:
                    raise _error(
                        f"the class of service {self.clos} has another schema: "
                        f"{resource}:{domain}={found} instead of {value}",
                        rdt.path,
                        self.clos,
                        hint="choose another closID, or the schema that it has",
                    )

    def make(self) -> None:
        """The directories, and the schemata of a new class. Raises Error."""
        path = "linux.intelRdt"
        for directory in self.makes:
            try:
                posix.mkdir(directory, 0o755)
            except OSError as error:
                where = f"{path}.enableMonitoring" if directory == self.monitoring else path
                raise _unmade(directory, where, error.errno or 0) from None
            self.made.append(directory)
            if directory == self.clos:
                for line in self.schemata:
                    _write(f"{self.clos}/schemata", line + "\n", path)

    @property
    def groups(self) -> list[str]:
        """Where the container's processes belong, in the order in which they join."""
        return [self.clos, self.monitoring] if self.monitoring else [self.clos]


def mount_point() -> str:
    """Where resctrl is mounted; raises Error when it is not."""
    for mount in mountinfo.read():
        if mount.type == "resctrl":
            return mount.point
    raise _error(
        "intelRdt needs the resctrl file system, which is not mounted",
        "linux.intelRdt",
        "resctrl",
        errno.ENOENT,
        "mount -t resctrl resctrl /sys/fs/resctrl; it needs a processor and a kernel that have it",
    )


def join(groups: list[str], pid: int) -> None:
    """Move a process into the groups."""
    for group in groups:
        _write(f"{group}/tasks", str(pid), "linux.intelRdt")


def remove(directories: list[str]) -> None:
    """Remove what ``make`` made. A group that is gone already is fine."""
    for directory in reversed(directories):
        try:
            posix.rmdir(directory)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise _error(
                f"the resctrl group {directory} can't be removed",
                "linux.intelRdt",
                directory,
                error.errno or 0,
            ) from None


def parse(lines: list[str]) -> dict[str, dict[str, int]]:
    """Schemata lines such as ``L3:0=ff;1=f`` as numbers, by resource and domain."""
    found: dict[str, dict[str, int]] = {}
    for line in lines:
        resource, _, rest = line.strip().partition(":")
        base = 10 if resource.startswith(("MB", "SMBA")) else 16
        domains = found.setdefault(resource, {})
        for pair in rest.split(";"):
            domain, _, value = pair.partition("=")
            try:
                domains[domain.strip()] = int(value, base)
            except ValueError:
                domains[domain.strip()] = -1
    return found


def _is_directory(path: str) -> bool:
    try:
        return posix.stat(path).st_mode & 0o170000 == 0o040000
    except OSError:
        return False


def _read(path: str, json_path: str) -> str:
    try:
        return read_file(path).decode()
    except OSError as error:
        raise _error(f"{path} can't be read", json_path, path, error.errno or 0) from None


def _write(path: str, text: str, json_path: str) -> None:
    try:
        write_file(path, text)
    except OSError as error:
        raise _error(
            f"resctrl refuses {text.strip()!r}",
            json_path,
            path,
            error.errno or 0,
            "info/last_cmd_status below the mount point of resctrl says why",
        ) from None


def _unmade(directory: str, json_path: str, number: int) -> Error:
    hint = "another container has made it: choose another id, or another closID"
    if number != errno.EEXIST:
        hint = "the hardware has few of them (ENOSPC): see info/*/num_closids and num_rmids"
    return _error(f"the resctrl group {directory} can't be made", json_path, directory, number, hint)


def _error(message: str, path: str, subject: str, number: int = 0, hint: str = "") -> Error:
    return Error(
        message, code="resctrl", step="intelRdt", path=path, subject=subject, errno=number, hint=hint
    )
