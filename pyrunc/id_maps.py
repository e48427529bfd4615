"""The id maps of a new user namespace: user_namespaces(7), newuidmap(1).

Whoever has the right writes them. An ordinary user may map no more than himself; for his subordinate ids
the host's newuidmap and newgidmap are asked, which know /etc/subuid and /etc/subgid.
"""

from __future__ import annotations

import errno
import posix

from pyrunc.errors import Error
from pyrunc.plan.namespaces import id_map
from pyrunc.state_directory import write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.spec import Spec

_PLACES = ("/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/sbin")


def write_id_maps(spec: Spec, pid: int) -> None:
    """uid_map and gid_map of the process, as linux.uidMappings and gidMappings have them; raises Error."""
    groups = id_map(spec.linux, "gidMappings")
    if posix.geteuid() != 0 and _only(groups, posix.getegid()):
        # Else the kernel takes no map of groups from an ordinary user.
        _write(pid, "setgroups", "deny", "linux.gidMappings")
    for name, key, own in (
        ("uid_map", "uidMappings", posix.geteuid()),
        ("gid_map", "gidMappings", posix.getegid()),
    ):
        text = id_map(spec.linux, key)
        if posix.geteuid() == 0 or _only(text, own):
            _write(pid, name, text, f"linux.{key}")
        else:
            _ask("new" + name.replace("_", ""), pid, text, f"linux.{key}")


def _only(text: str, own: int) -> bool:
    """Whether nothing but the caller's own id is mapped."""
    lines = text.split("\n")[:-1]
    return len(lines) == 1 and lines[0].split(" ")[1:] == [str(own), "1"]


def _write(pid: int, name: str, text: str, path: str) -> None:
    file = f"/proc/{pid}/{name}"
    try:
        write_file(file, text)
    except OSError as error:
        from pyrunc.explain import call_refused

        raise call_refused(
            "write",
            error.errno or 0,
            f"the id map {text.strip()!r} is refused",
            code="id-map",
            path=path,
            subject=file,
            step="id maps",
        ) from None


def _ask(program: str, pid: int, text: str, path: str) -> None:
    """newuidmap PID INSIDE OUTSIDE COUNT …"""
    for directory in _PLACES:
        try:
            posix.stat(f"{directory}/{program}")
        except OSError:
            continue
        break
    else:
        raise _refused(text, path, program, errno.ENOENT)
    reading, writing = posix.pipe()
    child = posix.posix_spawn(
        f"{directory}/{program}",
        [program, str(pid), *text.split()],
        {},
        file_actions=[(posix.POSIX_SPAWN_DUP2, writing, 2)],
    )
    posix.close(writing)
    said = b""
    while part := posix.read(reading, 4096):
        said += part
    posix.close(reading)
    if posix.waitstatus_to_exitcode(posix.waitpid(child, 0)[1]):
        words = " ".join(said.decode("utf-8", "replace").split())
        raise _refused(text, path, program, errno.EPERM, words)


def _refused(text: str, path: str, subject: str, number: int, words: str = "") -> Error:
    file = "/etc/subuid" if subject == "newuidmap" else "/etc/subgid"
    hint = f"map ids that {file} gives to you, or your own id alone; `spec --rootless` does so"
    if number == errno.ENOENT:
        hint = f"install {subject} (Debian: uidmap), or map your own id alone"
    return Error(
        f"the id map {' '.join(text.split())!r} is refused{': ' + words if words else ''}",
        code="id-map",
        step="id maps",
        path=path,
        subject=subject,
        errno=number,
        hint=hint,
    )
