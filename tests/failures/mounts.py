"""The root file system, mounts and devices."""

from __future__ import annotations

import subprocess
from typing import Any

from tests.failures import Group
from tests.integration.harness import Container, add_namespace, user_namespace

group = Group("Root, mounts and devices")
# The harness' own mounts come first: /proc, /dev, /dev/pts, /dev/shm, /sys
NEXT = "mounts[5]"


def mount(container: Container, destination: str, type_: str, source: Any, *options: str) -> None:
    entry = {"destination": destination, "type": type_, "source": str(source), "options": list(options)}
    container.config["mounts"].append(entry)


@group.case(
    "a root that does not exist",
    subject="/nowhere",
    place="root.path",
    cause="does not exist",
    remedy="make the file or directory on the host, or correct the path",
    reported="podman#25080",
)
def _(container: Container) -> None:
    container.config["root"]["path"] = "nowhere"


@group.case(
    "a root that is a file",
    subject="/image.tar",
    place="root.path",
    cause="is a file",
    remedy="unpack it",
)
def _(container: Container) -> None:
    (container.bundle / "image.tar").write_text("")
    container.config["root"]["path"] = "image.tar"


@group.case(
    "no root at all",
    subject="root",
    place="root",
    cause="is required",
    remedy="is required",
)
def _(container: Container) -> None:
    del container.config["root"]


@group.case(
    "a source that does not exist",
    subject="/no/such/volume",
    place=f"{NEXT}.source",
    cause="does not exist",
    remedy="make the file or directory on the host",
    reported="boulder#2112",
)
def _(container: Container) -> None:
    mount(container, "/data", "bind", "/no/such/volume", "bind")


@group.case(
    "a source that is a dangling link",
    subject="/volume",
    place=f"{NEXT}.source",
    cause="is a link to /gone, which does not exist",
    remedy="correct the link",
)
def _(container: Container) -> None:
    (container.bundle / "volume").symlink_to("/gone")
    mount(container, "/data", "bind", container.bundle / "volume", "bind")


@group.case(
    "a directory onto a file",
    subject="/etc/passwd",
    place=NEXT,
    cause="is a directory, the destination a file",
    remedy="make both a directory, or both a file",
    reported="moby#36428",
)
def _(container: Container) -> None:
    mount(container, "/etc/passwd", "bind", container.rootfs / "tmp", "bind")


@group.case(
    "a file onto a directory",
    subject="/tmp",
    place=NEXT,
    cause="is a file, the destination a directory",
    remedy="make both a directory, or both a file",
    reported="moby#36428",
)
def _(container: Container) -> None:
    mount(container, "/tmp", "bind", container.rootfs / "etc" / "passwd", "bind")


@group.case(
    "a destination below a file",
    subject="/etc/passwd/sub",
    place=NEXT,
    cause="is a file",
    remedy="correct the path or the image",
    reported="moby#24754",
)
def _(container: Container) -> None:
    mount(container, "/etc/passwd/sub", "tmpfs", "tmpfs")


@group.case(
    "a destination through links in a circle",
    subject="/a/data",
    place=NEXT,
    cause="lead in a circle",
    remedy="correct the image",
)
def _(container: Container) -> None:
    (container.rootfs / "a").symlink_to("b")
    (container.rootfs / "b").symlink_to("a")
    mount(container, "/a/data", "tmpfs", "tmpfs")


@group.case(
    "a file system that the kernel does not know",
    subject="'tmpf'",
    place=NEXT,
    cause="this kernel knows no file system",
    remedy="there is: tmpfs",
)
def _(container: Container) -> None:
    mount(container, "/data", "tmpf", "tmpfs")


@group.case(
    "a bind without the option",
    subject="'none'",
    place=NEXT,
    cause="this kernel knows no file system",
    remedy="put bind or rbind among the options",
)
def _(container: Container) -> None:
    mount(container, "/data", "none", container.rootfs / "tmp", "ro")


@group.case(
    "an option that the file system does not know",
    subject="/data",
    place=NEXT,
    cause="Unknown parameter 'sizes'",
    remedy="correct options of this mount",
)
def _(container: Container) -> None:
    mount(container, "/data", "tmpfs", "tmpfs", "sizes=1m")


@group.case(
    "a value that the file system does not take",
    subject="/data",
    place=NEXT,
    cause="size=plenty: tmpfs: Bad value for 'size'",
    remedy="correct options of this mount",
)
def _(container: Container) -> None:
    mount(container, "/data", "tmpfs", "tmpfs", "size=plenty")


@group.case(
    "a file as the source of ext4",
    subject="/data",
    place=NEXT,
    cause="is no block device",
    remedy="a file needs a loop device",
)
def _(container: Container) -> None:
    (container.bundle / "disk.img").write_bytes(bytes(65536))
    mount(container, "/data", "ext4", container.bundle / "disk.img")


@group.case(
    "an overlay whose layer is missing",
    subject="/data",
    place=NEXT,
    cause="lowerdir=/no/such/layer",
    remedy="make it, or correct options",
)
def _(container: Container) -> None:
    mount(container, "/data", "overlay", "overlay", "lowerdir=/no/such/layer", "ro")


@group.case(
    "a destination that is missing in a read-only root",
    subject="/data",
    place=NEXT,
    cause="is read-only and /data does not exist in it",
    remedy="make it in the image",
    reported="runc#1670",
)
def _(container: Container) -> None:
    rootfs = str(container.rootfs)
    subprocess.run(["mount", "--bind", rootfs, rootfs], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", rootfs], check=True)
    mount(container, "/data", "tmpfs", "tmpfs")


@group.case(
    "a destination that the container's root may not make",
    subject="/data",
    place=NEXT,
    cause="the container's root may not make it",
    remedy="make it in the image, or chown the image to the ids of linux.uidMappings",
)
def _(container: Container) -> None:
    user_namespace(container.config)
    mount(container, "/data", "tmpfs", "tmpfs")


@group.case(
    "sysfs with a network namespace of somebody else",
    subject="/sys",
    place="mounts[4]",
    cause="only by the user namespace that owns the network namespace",
    remedy='add {"type": "network"} to linux.namespaces',
    reported="podman#21680",
)
def _(container: Container) -> None:
    user_namespace(container.config)
    namespaces = container.config["linux"]["namespaces"]
    container.config["linux"]["namespaces"] = [entry for entry in namespaces if entry["type"] != "network"]


@group.case(
    "a file system that a user namespace can't mount",
    subject="/data",
    place=NEXT,
    cause="can't be mounted in a user namespace",
    remedy="mount it outside and bind it",
)
def _(container: Container) -> None:
    user_namespace(container.config)
    mount(container, "/data", "ext4", "/dev/vda", "ro")


@group.case(
    "a device whose path is taken",
    subject="/etc/passwd",
    place="linux.devices[0]",
    cause="another file is already at the device's path",
    remedy="remove it from the image, or the entry from linux.devices",
)
def _(container: Container) -> None:
    container.config["linux"]["devices"] = [{"path": "/etc/passwd", "type": "c", "major": 1, "minor": 3}]


@group.case(
    "a device below a file",
    subject="/etc/passwd/null",
    place="linux.devices[0]",
    cause="a file is where a directory",
    remedy="correct the path or the image",
)
def _(container: Container) -> None:
    container.config["linux"]["devices"] = [{"path": "/etc/passwd/null", "type": "c", "major": 1, "minor": 3}]


@group.case(
    "a device of an unknown type",
    subject='"d"',
    place="linux.devices[0].type",
    cause="is not a known value",
    remedy="known: c, b, u, p",
)
def _(container: Container) -> None:
    container.config["linux"]["devices"] = [{"path": "/dev/x", "type": "d", "major": 1, "minor": 3}]


@group.case(
    "a device without its numbers",
    subject="major",
    place="linux.devices[0].major",
    cause="is required",
    remedy="is required",
)
def _(container: Container) -> None:
    container.config["linux"]["devices"] = [{"path": "/dev/x", "type": "c"}]


@group.case(
    "id maps on a file system without them",
    subject="/proc/sys",
    place=NEXT,
    cause="id maps, for one",
    remedy="leave uidMappings and gidMappings out",
)
def _(container: Container) -> None:
    mount(container, "/data", "bind", "/proc/sys", "bind")
    mapping = [{"containerID": 0, "hostID": 1000, "size": 10}]
    container.config["mounts"][-1].update(uidMappings=mapping, gidMappings=mapping)


@group.case(
    "an unknown propagation",
    subject='"sharing"',
    place="linux.rootfsPropagation",
    cause="is not a known value",
    remedy="known: shared",
)
def _(container: Container) -> None:
    container.config["linux"]["rootfsPropagation"] = "sharing"


@group.case(
    "a terminal without a devpts",
    subject="/dev/pts/ptmx",
    place="process.terminal",
    cause="from the container's own devpts",
    remedy="mount one on /dev/pts",
)
def _(container: Container) -> None:
    container.config["process"]["terminal"] = True
    container.config["mounts"] = [m for m in container.config["mounts"] if m["type"] != "devpts"]
    add_namespace(container.config, "uts")
