"""Writes docs/vocabulary.md: the words that config.json may hold, from the tables that pyrunc itself reads.

vocabulary.py FILE
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from pyrunc.vocabulary import mount_options as options
from pyrunc.vocabulary import scheduling, seccomp
from pyrunc.vocabulary.capabilities import CAPABILITIES
from pyrunc.vocabulary.hooks import HOOKS
from pyrunc.vocabulary.namespaces import NAMESPACE_FILES
from pyrunc.vocabulary.rlimits import RLIMITS
from pyrunc.vocabulary.signals import RTMAX, RTMIN, SIGNALS

INTRODUCTION = """\
# Vocabulary

The words that `config.json` and the command line may hold. `make vocabulary` writes this file from the \
tables in `pyrunc/vocabulary/`, which the compiler, `pyrunc features` and the messages of errors read too.
"""


def main() -> None:
    Path(sys.argv[1]).write_text(page())


def page() -> str:
    """The whole text."""
    return "\n".join([INTRODUCTION, *mounts(), *process(), *linux(), *others()])


def mounts() -> Iterable[str]:
    yield section("Mount options", "`mounts[].options`. What is not here is handed on to the file system.")
    yield table(("option", "effect"), [(f"`{name}`", effect(name)) for name in sorted(options.KNOWN)])


def effect(name: str) -> str:
    """What an option does, from the table that it is in."""
    if name in options.PROPAGATION:
        what = name.removeprefix("r") if options.PROPAGATION[name] & options.MS_REC else name
        return f"propagation: {what}" + (", with all below" if name != what else "")
    if name in options.ATTRIBUTES or name in options.RECURSIVE:
        if name in options.RECURSIVE:
            return f"`{name.removeprefix('r')}`, with all below"
        on, off = options.ATTRIBUTES[name]
        bits = f"sets {on:#x}" if on else ""
        bits += ", " if on and off else ""
        bits += f"clears {off:#x}" if off else ""
        return f"attributes of the mount: {bits or 'leaves as they are'}"
    if name in options.SUPERBLOCK:
        flag, on_ = options.SUPERBLOCK[name]
        return f"of the file system: {flag if on_ else 'not ' + flag}"
    if name in options.MOUNT_FLAGS:
        bit, on_ = options.MOUNT_FLAGS[name]
        return f"flag {bit:#x} of mount(2): {'set' if on_ else 'not set'}"
    return {
        "bind": "the source is a file or directory, not a device",
        "rbind": "as `bind`, with all that is mounted below the source",
        "idmap": "ids are mapped: by the mount's own mappings, else those of the user namespace",
        "ridmap": "as `idmap`, with all below",
        "remount": "changes what is mounted at the destination",
        "tmpcopyup": "a new tmpfs begins with what the destination held",
        "defaults": "says nothing",
    }[name]


def process() -> Iterable[str]:
    yield section("Capabilities", "`process.capabilities`. One that is unknown is left out, with a warning.")
    yield numbers(CAPABILITIES)
    yield section("Resource limits", "`process.rlimits[].type`, each once.")
    yield numbers(RLIMITS)
    yield section("Scheduling policies", "`process.scheduler.policy`")
    yield numbers(scheduling.POLICIES)
    yield section("Scheduling flags", "`process.scheduler.flags`")
    yield numbers(scheduling.SCHEDULER_FLAGS)
    yield section("I/O priority classes", "`process.ioPriority.class`")
    yield numbers(scheduling.IO_CLASSES)


def linux() -> Iterable[str]:
    yield section("Namespaces", "`linux.namespaces[].type`, each once.")
    yield table(("word", "file"), [(f"`{k}`", f"`/proc/PID/ns/{v}`") for k, v in NAMESPACE_FILES.items()])
    yield section("Execution domains", "`linux.personality.domain`. There are no flags.")
    yield numbers(scheduling.DOMAINS)
    yield section("Memory policies", "`linux.memoryPolicy.mode`")
    yield numbers(scheduling.MEMORY_MODES)
    yield section("Memory policy flags", "`linux.memoryPolicy.flags`")
    yield numbers(scheduling.MEMORY_FLAGS)
    yield section("Seccomp actions", "`linux.seccomp.defaultAction` and `linux.seccomp.syscalls[].action`")
    yield table(
        ("action", "number", "`errnoRet`"),
        [
            (
                f"`{name}`",
                f"{number:#x}",
                f"up to {seccomp.WITH_VALUE[name]}" if name in seccomp.WITH_VALUE else "no",
            )
            for name, number in seccomp.ACTIONS.items()
        ],
    )
    yield section("Seccomp operators", "`linux.seccomp.syscalls[].args[].op`")
    yield numbers(seccomp.OPERATORS)
    yield section("Seccomp flags", "`linux.seccomp.flags`")
    yield numbers(seccomp.FLAGS)
    yield section(
        "Seccomp architectures", "`linux.seccomp.architectures`. The machine's own is always there."
    )
    yield ", ".join(f"`{name}`" for name in seccomp.ARCHITECTURES) + "\n"


def others() -> Iterable[str]:
    yield section("Hooks", "`hooks`, in this order.")
    yield table(
        ("kind", "operation", "runs in the namespaces of the"),
        [(f"`{kind}`", operation, where) for kind, (operation, where) in HOOKS.items()],
    )
    yield section("Signals", f"`pyrunc kill`: a name with or without SIG, or a number from 1 to {RTMAX}.")
    yield numbers(SIGNALS)
    yield f"`SIGRTMIN` is {RTMIN}, `SIGRTMAX` is {RTMAX}; `SIGRTMIN+n` and `SIGRTMAX-n` are between them.\n"


def section(title: str, text: str) -> str:
    return f"## {title}\n\n{text}\n"


def numbers(words: dict[str, int]) -> str:
    return table(("word", "number"), [(f"`{name}`", str(number)) for name, number in words.items()])


def table(heading: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [heading, ("---",) * len(heading), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


if __name__ == "__main__":
    main()
