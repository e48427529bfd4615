"""The mounts that a process sees: proc_pid_mountinfo(5)."""

from __future__ import annotations

from pyrunc.state_directory import read_to_end


class Mount:
    """One mount. ``options`` are its own, with "ro" where its file system is read-only; ``super_options`` are
    those of the file system. A name that is not UTF-8 is as posix.fsdecode() has it.
    """

    __slots__ = ("id", "point", "options", "type", "super_options")

    def __init__(self, line: str) -> None:
        fields = line.split(" ")
        after = fields.index("-", 6)
        self.id = int(fields[0])
        self.point = _unescaped(fields[4])
        self.type = fields[after + 1]
        self.super_options = fields[after + 3].split(",")
        self.options = {*fields[5].split(","), *({"ro"} & set(self.super_options))}


def read(process: str = "/proc/self") -> list[Mount]:
    """The mounts in the order in which they cover each other; ``process`` is a directory of proc(5).

    Raises OSError.
    """
    text = read_to_end(f"{process}/mountinfo").decode("utf-8", "surrogateescape")
    return [Mount(line) for line in text.split("\n") if line]


def _unescaped(text: str) -> str:
    for octal, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(octal, character)
    return text
