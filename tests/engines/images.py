"""The one image of the tests, made here of a static busybox: no registry is needed."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path

BUSYBOX = Path("/bin/busybox")
IMAGE = "localhost/busybox:latest"
PAUSE = "localhost/pause:latest"

FOLDERS = ("bin", "etc", "tmp", "root", "dev", "proc", "sys", "var", "run", "home")
FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nguest:x:1000:1000:guest:/home:/bin/sh\n",
    "etc/group": "root:x:0:\nguest:x:1000:\nextra:x:2000:guest\n",
}


def add(image: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o644
    image.addfile(entry, io.BytesIO(data))


def rootfs(path: Path) -> Path:
    """A root filesystem of busybox and a link for each of its applets, as a tar file."""
    applets = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True)
    with tarfile.open(path, "w") as image:
        for folder in FOLDERS:
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            image.addfile(entry)
        image.add(BUSYBOX, "bin/busybox", recursive=False)
        for applet in applets.stdout.split():
            if applet != "busybox":
                entry = tarfile.TarInfo(f"bin/{applet}")
                entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
                image.addfile(entry)
        for name, text in FILES.items():
            add(image, name, text.encode())
    return path


def archive(path: Path, layer: Path) -> Path:
    """The root filesystem as an archive of two images, in the form of docker save."""
    data = layer.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    manifests = []
    with tarfile.open(path, "w") as image:
        add(image, f"{digest}.tar", data)
        for name, command in (IMAGE, ["/bin/sh"]), (PAUSE, ["/bin/sleep", "1000000"]):
            config = json.dumps(
                {
                    "architecture": "amd64",
                    "os": "linux",
                    "config": {"Cmd": command, "Env": ["PATH=/usr/bin:/bin:/usr/sbin:/sbin"]},
                    "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
                }
            ).encode()
            file = f"{hashlib.sha256(config).hexdigest()}.json"
            add(image, file, config)
            manifests.append({"Config": file, "RepoTags": [name], "Layers": [f"{digest}.tar"]})
        add(image, "manifest.json", json.dumps(manifests).encode())
    return path
