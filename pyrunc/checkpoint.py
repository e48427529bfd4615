"""`checkpoint`: a container's processes into images, by CRIU."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyrunc import criu, criu_service, mountinfo
from pyrunc import state_directory as states
from pyrunc.destroy import destroy, poststop
from pyrunc.errors import Error, WrongStatus
from pyrunc.lifecycle import status_of
from pyrunc.vocabulary.mount_options import is_bind

if TYPE_CHECKING:
    from pyrunc.mountinfo import Mount
    from pyrunc.spec import Spec
    from pyrunc.state_directory import State


def checkpoint_container(root: str, id: str, options: dict[str, Any]) -> None:
    """Write the images; then, unless it is to go on running, delete the container.

    options: those of the command line, by their names with "_".
    """
    state = states.load(root, id, lock=True)
    try:
        _checkpoint(state, options)
    finally:
        state.close()


def _checkpoint(state: State, options: dict[str, Any]) -> None:
    if status_of(state) not in ("running", "paused"):
        raise WrongStatus("container not running", code="not-running", subject=state.id)
    spec = state.config()
    image, work = criu.directories(options, make=True)
    outside = _Outside(state, spec)
    action = "pre-dump" if options["pre_dump"] else "dump"
    fds = (options["status_fd"],) if options["status_fd"] else ()
    call = criu_service.run if spec.process.flag("terminal") else criu.run
    call(action, _arguments(state, options, outside, image, spec.mapping("annotations")), work, fds=fds)
    if action == "dump":
        Path(image, criu.NAMES).write_text(json.dumps(outside.names))
        record = {"mounts": outside.mounts, "files": outside.files}
        Path(image, criu.MOUNTS).write_text(json.dumps(record))
    if not (options["leave_running"] or options["pre_dump"]):
        poststop(destroy(state), state)


def _arguments(
    state: State, options: dict[str, Any], outside: _Outside, image: str, annotations: dict[str, str]
) -> list[str]:
    common = criu.common_arguments(options, annotations)
    found = [*common, "--tree", str(state.record["pid"]), "--evasive-devices"]
    if options["leave_running"]:
        found.append("--leave-running")
    if options["tcp_skip_in_flight"]:
        found.append("--skip-in-flight")
    if options["pre_dump"]:
        found.append("--track-mem")
    if options["parent_path"]:
        found += ["--track-mem", "--prev-images-dir", _parent(options["parent_path"], image)]
    if options["status_fd"]:
        found += ["--status-fd", str(options["status_fd"])]
    if options["page_server"]:
        address, _, port = options["page_server"].rpartition(":")
        found += [*([] if options["lazy_pages"] else ["--page-server"]), "--address", address, "--port", port]
    found += [f"--manage-cgroups={options['manage_cgroups_mode'] or 'soft'}"]
    if state.record.get("freezer"):
        found += ["--freeze-cgroup", os.path.dirname(state.record["freezer"])]
    for mountpoint in outside.mounts:
        found += ["--external", f"mnt[{mountpoint}]:{mountpoint}"]
    for file in outside.files.values():
        found += ["--external", file]
    for kind, key in outside.namespaces:
        found += ["--external", f"{kind}[{key}]:{external_namespace(kind)}"]
    return found


def external_namespace(kind: str) -> str:
    """The name in the images of a namespace that is not the container's own."""
    return f"external-{kind}"


def _parent(path: str, image: str) -> str:
    """The images of the last pre-dump, from the new ones: they are moved together."""
    if os.path.isabs(path) or not os.path.isfile(os.path.join(image, path, "inventory.img")):
        raise Error(
            f"--parent-path {path} leads to no images of a pre-dump",
            code="criu-images",
            step="checkpoint",
            subject=path,
            hint="give a path from --image-path, such as ../parent",
        )
    return path


class _Outside:
    """What the container has of the host: criu must not look into it, restore gives it again."""

    def __init__(self, state: State, spec: Spec) -> None:
        pid = state.record["pid"]
        table = mountinfo.read(f"/proc/{pid}")
        self.mounts = _external_mounts(table, spec, pid)
        self.names = [_name(pid, fd) for fd in range(3)]
        self.files = _external_files(table, pid)
        self.namespaces = [
            (kind, os.stat(f"/proc/{pid}/ns/{kind}").st_ino)
            for name, kind in (("network", "net"), ("pid", "pid"))
            if joined(spec, name)
        ]


def joined(spec: Spec, name: str) -> str:
    """The path of a namespace that the container joins; "" when it has its own."""
    paths = [item.text("path") for item in spec.linux.children("namespaces") if item.text("type") == name]
    return paths[0] if paths else ""


def _external_mounts(table: list[Mount], spec: Spec, pid: int) -> dict[str, str]:
    """Mount point to "file" or "directory"."""
    mounts = spec.children("mounts")
    outside = {mount.text("destination") for mount in mounts if is_bind(mount.texts("options"))}
    outside |= set(spec.linux.texts("maskedPaths"))
    found: dict[str, str] = {}
    for mount in table:
        point = mount.point
        below = any(point.startswith(f"{above}/") for above in found)
        if point != "/" and (point in outside or below or mount.type in ("cgroup", "devtmpfs")):
            found[point] = "directory" if os.path.isdir(f"/proc/{pid}/root{point}") else "file"
    return found


def _name(pid: int, fd: int) -> str:
    """What a descriptor leads to; "" where it is closed, as daemons do with standard input and output."""
    try:
        return os.readlink(f"/proc/{pid}/fd/{fd}")
    except FileNotFoundError:
        return ""


def _external_files(table: list[Mount], pid: int) -> dict[str, str]:
    """Of standard input, output and error: files of mounts that the container does not see."""
    known = {mount.id for mount in table}
    found = {}
    for fd in range(3):
        name = _name(pid, fd)
        if not name.startswith("/"):
            continue
        info = Path(f"/proc/{pid}/fdinfo/{fd}").read_text().splitlines()
        values = dict(line.split(":\t", 1) for line in info if ":\t" in line)
        if int(values["mnt_id"]) not in known:
            inode = os.stat(f"/proc/{pid}/fd/{fd}").st_ino
            found[str(fd)] = f"file[{int(values['mnt_id']):x}:{inode:x}]"
    return found
