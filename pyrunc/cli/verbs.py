"""The verbs: each gives the command line to ``lifecycle`` and prints what comes back.

A verb takes the state root and the parsed command line, and returns the exit status.
"""

from __future__ import annotations

import posix

from pyrunc.cli import json_text, report
from pyrunc.cli.main import absolute
from pyrunc.errors import Error, Usage
from pyrunc.spec import MAX_SIZE
from pyrunc.state_directory import check_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyrunc.cli.parse import Parsed


def _output(text: str) -> int:
    """Writes to standard output; a reader that has gone is no error of ours."""
    return 0 if report.write(1, text) else 1


def _cgroups(parsed: Parsed) -> dict[str, Any]:
    given = parsed.globals
    systemd = given["systemd_cgroup"] or given["cgroup_manager"] == "systemd"
    disabled = given["cgroup_manager"] == "disabled"
    return {"systemd_cgroup": systemd, "no_cgroup": disabled, "rootless": given["rootless"]}


def _creation(parsed: Parsed) -> dict[str, Any]:
    """The keyword arguments that lifecycle.create and lifecycle.run share."""
    options = parsed.options
    return {
        "console_socket": options["console_socket"],
        "pidfd_socket": options["pidfd_socket"],
        "pid_file": options["pid_file"] and absolute(options["pid_file"]),
        "no_pivot": options["no_pivot"],
        "new_keyring": not options["no_new_keyring"],
        "preserve_fds": options["preserve_fds"],
        **_cgroups(parsed),
    }


def create(root: str, parsed: Parsed) -> int:
    id = check_id(parsed.args[0])
    from pyrunc import lifecycle

    lifecycle.create(root, id, absolute(parsed.options["bundle"]), **_creation(parsed))
    return 0


def run(root: str, parsed: Parsed) -> int:
    id = check_id(parsed.args[0])
    from pyrunc import lifecycle

    options = parsed.options
    return lifecycle.run(
        root,
        id,
        absolute(options["bundle"]),
        detach=options["detach"],
        keep=options["keep"],
        signals=True,
        **_creation(parsed),
    )


def start(root: str, parsed: Parsed) -> int:
    ids = [check_id(id) for id in parsed.args]
    from pyrunc import lifecycle

    for id in ids:
        lifecycle.start(root, id)
    return 0


def state(root: str, parsed: Parsed) -> int:
    id = check_id(parsed.args[0])
    from pyrunc import lifecycle

    return _output(json_text.dump(lifecycle.state(root, id), "  ") + "\n")


def kill(root: str, parsed: Parsed) -> int:
    id = check_id(parsed.args[0])
    from pyrunc import lifecycle
    from pyrunc.vocabulary.signals import parse_signal

    signal = parse_signal("".join(parsed.args[1:]) or "SIGTERM")
    lifecycle.kill(root, id, signal, all_processes=parsed.options["all"])
    return 0


def delete(root: str, parsed: Parsed) -> int:
    id = check_id(parsed.args[0])
    from pyrunc import lifecycle

    lifecycle.delete(root, id, force=parsed.options["force"])
    return 0


def exec_(root: str, parsed: Parsed) -> int:
    id = check_id(parsed.args[0])
    args = parsed.args[1:]
    if args and args[0] == "--":
        del args[0]
    options = parsed.options
    process: bytes | None = None
    if options["process"]:
        process = _read(options["process"])
    elif not args:
        raise Usage(
            "process args cannot be empty",
            code="usage",
            hint="give a command after the id, or --process FILE before it",
        )
    from pyrunc import lifecycle

    return lifecycle.exec_process(
        root,
        id,
        process=process,
        args=args,
        env=options["env"],
        cwd=options["cwd"],
        user=options["user"],
        additional_gids=options["additional_gids"],
        caps=options["cap"],
        no_new_privs=options["no_new_privs"],
        tty=options["tty"],
        detach=options["detach"],
        pid_file=options["pid_file"] and absolute(options["pid_file"]),
        console_socket=options["console_socket"],
        preserve_fds=options["preserve_fds"],
        apparmor=options["apparmor"],
        process_label=options["process_label"],
        cgroup=options["cgroup"],
        pidfd_socket=options["pidfd_socket"],
        ignore_paused=options["ignore_paused"],
        signals=True,
    )


def _read(path: str) -> bytes:
    """All of a file, of standard input for "-". Raises Error, also where it has no end."""
    parts: list[bytes] = []
    left = MAX_SIZE
    try:
        fd = posix.dup(0) if path == "-" else posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            while left >= 0 and (part := posix.read(fd, 65536)):
                parts.append(part)
                left -= len(part)
        finally:
            posix.close(fd)
    except OSError as error:
        raise report.from_os_error(f"open {path}", error) from error
    if left < 0:
        raise Error(f"{path} is longer than {MAX_SIZE} bytes", code="system", subject=path, errno=27)
    return b"".join(parts)


def pause(root: str, parsed: Parsed) -> int:
    id = check_id(parsed.args[0])
    from pyrunc import lifecycle

    lifecycle.pause(root, id)
    return 0


def resume(root: str, parsed: Parsed) -> int:
    id = check_id(parsed.args[0])
    from pyrunc import lifecycle

    lifecycle.resume(root, id)
    return 0


def update(root: str, parsed: Parsed) -> int:
    id = check_id(parsed.args[0])
    from pyrunc import lifecycle
    from pyrunc.cli import limits

    options = parsed.options
    file = options["resources"]
    resources = limits.from_text(_read(file)) if file else limits.from_options(options)
    schemata = {key: options[key] for key in ("l3_cache_schema", "mem_bw_schema")}
    lifecycle.update(root, id, resources, **schemata)
    return 0


def events(root: str, parsed: Parsed) -> int:
    id = check_id(parsed.args[0])
    from pyrunc.cli import watching

    return watching.print_events(root, id, parsed.options)


def _criu(parsed: Parsed) -> dict[str, Any]:
    paths = {key: absolute(parsed.options[key]) for key in ("image_path", "work_path") if parsed.options[key]}
    return {**parsed.options, **paths}


def checkpoint(root: str, parsed: Parsed) -> int:
    id = check_id(parsed.args[0])
    from pyrunc.checkpoint import checkpoint_container

    checkpoint_container(root, id, _criu(parsed))
    return 0


def restore(root: str, parsed: Parsed) -> int:
    id = check_id(parsed.args[0])
    from pyrunc.restoring import restore_container

    options = {**_criu(parsed), **_cgroups(parsed)}
    options["pid_file"] = options["pid_file"] and absolute(options["pid_file"])
    return restore_container(root, id, absolute(options["bundle"]), options)


def list_(root: str, parsed: Parsed) -> int:
    if parsed.options["quiet"]:
        from pyrunc.state_directory import ids

        return _output("".join(f"{id}\n" for id in ids(root)))
    from pyrunc import lifecycle

    containers = lifecycle.containers(root)
    if parsed.options["format"] == "json":
        # Like runc: one line, and null for none.
        return _output(json_text.dump(containers or None) + "\n")
    keys = ("id", "pid", "status", "bundle", "created", "owner")
    rows = [[key.upper() for key in keys]]
    rows += [[report.shown(str(container.get(key, ""))) for key in keys] for container in containers]
    return _output(_columns(rows))


def _columns(rows: list[list[str]]) -> str:
    """Rows as lines; columns are at least 12 wide and 3 apart, as runc has them."""
    count = len(rows[0])
    widths = [max(12, *(len(row[at]) + 3 for row in rows)) for at in range(count - 1)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append("".join(cells) + row[-1])
    return "".join(f"{line}\n" for line in lines)


def ps(root: str, parsed: Parsed) -> int:
    id = check_id(parsed.args[0])
    from pyrunc import lifecycle

    pids = lifecycle.processes(root, id)
    if parsed.options["format"] == "json":
        return _output(json_text.dump(pids) + "\n")
    arguments = parsed.args[1:] or ["-ef"]
    import subprocess

    try:
        done = subprocess.run(["ps", *arguments], capture_output=True, check=False)
    except OSError as error:
        raise report.from_os_error("ps", error) from error
    if done.returncode:
        words = done.stderr.decode("utf-8", "replace").strip()
        raise Error(f"ps {' '.join(arguments)}: {words or f'exit status {done.returncode}'}", code="ps")
    return _output(filter_ps(done.stdout.decode("utf-8", "surrogateescape"), pids))


def filter_ps(text: str, pids: list[int]) -> str:
    """The lines of ps(1)'s output that are about pids, below its heading."""
    lines = text.splitlines()
    heading = lines[0].split() if lines else []
    if "PID" not in heading:
        raise Error(
            "couldn't find PID field in ps output",
            code="ps",
            hint="choose options of ps(1) that show a PID column, such as -ef",
        )
    column = heading.index("PID")
    wanted = {str(pid) for pid in pids}
    kept = [lines[0]]
    for line in lines[1:]:
        cells = line.split()
        if len(cells) > column and cells[column] in wanted:
            kept.append(line)
    return "".join(f"{line}\n" for line in kept)


def spec(root: str, parsed: Parsed) -> int:
    from pyrunc.cli import default_spec

    default_spec.write(absolute(parsed.options["bundle"]), parsed.options["rootless"])
    return 0


def validate(root: str, parsed: Parsed) -> int:
    from pyrunc.cli import validation

    text, valid = validation.validate(absolute((parsed.args or ["."])[0]), parsed.options["json"])
    return _output(text) if valid else _output(text) or 1


def plan(root: str, parsed: Parsed) -> int:
    from pyrunc.cli import planning

    options = parsed.options
    return _output(planning.plan(absolute((parsed.args or ["."])[0]), options["json"], options["no_pivot"]))


def features(root: str, parsed: Parsed) -> int:
    from pyrunc.cli.features import document

    return _output(json_text.dump(document(), "  ") + "\n")


def doctor(root: str, parsed: Parsed) -> int:
    from pyrunc.cli import diagnosis

    text, able = diagnosis.doctor(parsed.options["json"])
    return _output(text) if able else _output(text) or 1


def gc(root: str, parsed: Parsed) -> int:
    from pyrunc.cli import collection

    options = parsed.options
    text, clean = collection.gc(root, options["dry_run"], options["force"], options["json"])
    return _output(text) if clean else _output(text) or 1


def version() -> int:
    """Prints the version; Docker reads the text after "version" and after "commit:"."""
    from pyrunc.version import __version__
    from pyrunc.vocabulary.versions import NEWEST

    return _output(f"pyrunc version {__version__}\ncommit: {__version__}\nspec: {NEWEST}\n")


def snapshot(root: str, parsed: Parsed) -> int:
    from pyrunc import snapshot

    return _output(snapshot.make() + "\n")


def explain(root: str, parsed: Parsed) -> int:
    from pyrunc.cli.terminal import Terminal
    from pyrunc.explain import pages

    code = parsed.args[0] if parsed.args else ""
    return _output(pages.show(code, as_json=parsed.options["json"], terminal=Terminal()))


VERBS: dict[str, Callable[[str, Parsed], int]] = {
    "create": create,
    "start": start,
    "state": state,
    "kill": kill,
    "delete": delete,
    "run": run,
    "exec": exec_,
    "spec": spec,
    "features": features,
    "list": list_,
    "pause": pause,
    "resume": resume,
    "update": update,
    "events": events,
    "checkpoint": checkpoint,
    "restore": restore,
    "ps": ps,
    "snapshot": snapshot,
    "validate": validate,
    "plan": plan,
    "doctor": doctor,
    "gc": gc,
    "explain": explain,
}
