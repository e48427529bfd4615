"""The program is not there, or can't be executed."""

from __future__ import annotations

import struct

from tests.failures import Group
from tests.integration.harness import Container

group = Group("The program")
ARGS = "process.args"


def program(container: Container, content: bytes, mode: int = 0o755) -> None:
    """/program, and the container runs it."""
    file = container.rootfs / "program"
    file.write_bytes(content)
    file.chmod(mode)
    container.config["process"]["args"] = ["/program"]


def elf(machine: int, loader: bytes = b"") -> bytes:
    """A 64-bit little-endian ELF executable: a header, and PT_INTERP if there is a loader."""
    numbers = (2, machine, 1, 0, 64, 0, 0, 64, 56, 1 if loader else 0, 64, 0, 0)
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", *numbers)
    size = len(loader) + 1
    segment = struct.pack("<IIQQQQQQ", 3, 4, 120, 0, 0, size, size, 1)
    return header + segment + loader + b"\0" if loader else header


@group.case(
    "a name that is not in PATH",
    subject='"nosuchprogram"',
    place=ARGS,
    cause="not found in $PATH",
    remedy="install the program",
    reported="moby#40859",
)
def _(container: Container) -> None:
    container.config["process"]["args"] = ["nosuchprogram"]


@group.case(
    "a program in a directory that PATH does not name",
    subject='"tool"',
    place=ARGS,
    cause="it is in /usr/local/bin, which PATH",
    remedy="add it in process.env",
    reported="moby#40859",
)
def _(container: Container) -> None:
    directory = container.rootfs / "usr" / "local" / "bin"
    directory.mkdir(parents=True)
    (directory / "tool").write_bytes(b"#!/bin/sh\n")
    (directory / "tool").chmod(0o755)
    container.config["process"]["args"] = ["tool"]


@group.case(
    "all words in one argument",
    subject='"ls -l /"',
    place=ARGS,
    cause="no such file or directory",
    remedy="wants each word as an element of its own",
    reported="moby#40859",
)
def _(container: Container) -> None:
    container.config["process"]["args"] = ["ls -l /"]


@group.case(
    "a path that is not in the image",
    subject='"/opt/app/run"',
    place=ARGS,
    cause="has /, but not /opt/app/run",
    remedy="is the image complete, the path right?",
    reported="runc#3237",
)
def _(container: Container) -> None:
    container.config["process"]["args"] = ["/opt/app/run"]


@group.case(
    "a link that leads nowhere",
    subject='"/program"',
    place=ARGS,
    cause="link to /usr/bin/python3.99, which does not exist",
    remedy="install it, or correct the link",
    reported="runc#1773",
)
def _(container: Container) -> None:
    (container.rootfs / "program").symlink_to("/usr/bin/python3.99")
    container.config["process"]["args"] = ["/program"]


@group.case(
    "links in a circle",
    subject='"/program"',
    place=ARGS,
    cause="lead in a circle",
    remedy="correct them in the image",
)
def _(container: Container) -> None:
    (container.rootfs / "program").symlink_to("other")
    (container.rootfs / "other").symlink_to("program")
    container.config["process"]["args"] = ["/program"]


@group.case(
    "a file where the path has a directory",
    subject='"/etc/passwd/app"',
    place=ARGS,
    cause="/etc/passwd is a file, not a directory",
    remedy="correct the path",
)
def _(container: Container) -> None:
    container.config["process"]["args"] = ["/etc/passwd/app"]


@group.case(
    "a directory",
    subject='"/bin"',
    place=ARGS,
    cause="is a directory",
    remedy="name the program in it",
    reported="moby#29420",
)
def _(container: Container) -> None:
    container.config["process"]["args"] = ["/bin"]


@group.case(
    "no x bit",
    subject='"/program"',
    place=ARGS,
    cause="no x bit (mode 0644)",
    remedy="chmod +x",
    reported="podman#22763",
)
def _(container: Container) -> None:
    program(container, b"#!/bin/sh\n", 0o644)


@group.case(
    "the user may not execute it",
    subject='"/program"',
    place=ARGS,
    cause="mode 0700 of 0:0",
    remedy="does not let process.user execute it",
    reported="podman#22763",
)
def _(container: Container) -> None:
    program(container, elf(62), 0o700)
    container.config["process"]["user"] = {"uid": 1000, "gid": 1000}


@group.case(
    "a mount with noexec",
    subject='"/data/program"',
    place=ARGS,
    cause="mount with the option noexec",
    remedy="take the option away",
    reported="podman#22763",
)
def _(container: Container) -> None:
    program(container, b"#!/bin/sh\n")
    mount = {
        "destination": "/data",
        "type": "bind",
        "source": str(container.rootfs),
        "options": ["bind", "noexec"],
    }
    container.config["mounts"].append(mount)
    container.config["process"]["args"] = ["/data/program"]


@group.case(
    "a script whose interpreter is missing",
    subject='"/program"',
    place=ARGS,
    cause="interpreter /usr/bin/python3 does not exist in the container",
    remedy="install it, or change the script's first line",
    reported="runc#1773",
)
def _(container: Container) -> None:
    program(container, b"#!/usr/bin/python3\n")


@group.case(
    "a script with CRLF",
    subject='"/program"',
    place=ARGS,
    cause="first line ends in CRLF",
    remedy="dos2unix",
    reported="docker-node#94",
)
def _(container: Container) -> None:
    program(container, b"#!/bin/sh\r\necho hello\r\n")


@group.case(
    "a script without #!",
    subject='"/program"',
    place=ARGS,
    cause="no #! with an interpreter",
    remedy="begin it with #!/bin/sh",
    reported="moby#29420",
)
def _(container: Container) -> None:
    program(container, b"echo hello\n")


@group.case(
    "an empty file",
    subject='"/program"',
    place=ARGS,
    cause="the file is empty",
    remedy="give it a program",
)
def _(container: Container) -> None:
    program(container, b"")


@group.case(
    "a program for another machine",
    subject='"/program"',
    place=ARGS,
    cause="is for aarch64, this host is x86_64",
    remedy="take the image for linux/amd64",
    reported="runc#1773",
)
def _(container: Container) -> None:
    program(container, elf(183))


@group.case(
    "a program whose loader is missing",
    subject='"/program"',
    place=ARGS,
    cause="loader /lib/ld-musl-x86_64.so.1 does not exist",
    remedy="link it statically, or take a matching image",
    reported="runc#1773",
)
def _(container: Container) -> None:
    program(container, elf(62, b"/lib/ld-musl-x86_64.so.1"))


@group.case(
    "a program that is cut off",
    subject='"/program"',
    place=ARGS,
    cause="cut off after its first bytes",
    remedy="copy it again",
)
def _(container: Container) -> None:
    program(container, elf(62)[:32])


@group.case(
    "an environment that is too long",
    subject='"/bin/sh"',
    place=ARGS,
    cause="longer than the kernel takes",
    remedy="hand long values over in a file",
)
def _(container: Container) -> None:
    container.config["process"]["env"].append("LONG=" + "x" * 200_000)


@group.case(
    "exec of a program that is not there",
    subject='"nosuchprogram"',
    place=ARGS,
    cause="not found in $PATH",
    remedy="install the program",
    reported="moby#40859",
    verb="exec",
    arguments=("nosuchprogram",),
)
def _(container: Container) -> None:
    container.config["process"]["args"] = ["/bin/sleep", "100"]
    container.started()
