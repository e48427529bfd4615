"""What create and start would do with a bundle: the steps in order, and which of them this host can't take.

Nothing is made: the plan is compiled as create compiles it, and then shown.
"""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING, Any

from pyrunc import cgroup as cgroups
from pyrunc.configuration import config_error, host_of, read_config, resctrl_of
from pyrunc.errors import Error
from pyrunc.explain.host import Host
from pyrunc.plan import FD_TREE, FD_TREE_RECURSIVE, opcodes
from pyrunc.plan.container import compile_container
from pyrunc.spec import Refused
from pyrunc.step_text import arguments
from pyrunc.vocabulary.namespaces import NAMESPACES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyrunc.cgroup import Cgroup
    from pyrunc.plan import Plan, Step
    from pyrunc.spec import Spec
    from pyrunc.step_text import Value


class Item:
    """One step.

    actor: who takes it: "runtime" or "init".
    name: what is done. arguments: by name, for people.
    path: the JSON path that asks for it; "" for what every container needs.
    problem: why this host can't do it; "" if it can, as far as that can be told without doing it.
    """

    __slots__ = ("actor", "name", "arguments", "path", "problem")

    def __init__(
        self, actor: str, name: str, arguments: dict[str, Value], path: str, problem: str = ""
    ) -> None:
        self.actor = actor
        self.name = name
        self.arguments = arguments
        self.path = path
        self.problem = problem


class Preview:
    """items: all steps. warnings: what the compiler leaves out."""

    __slots__ = ("items", "warnings")

    def __init__(self, items: list[Item], warnings: list[str]) -> None:
        self.items = items
        self.warnings = warnings


def preview(bundle: str, id: str = "ID", no_pivot: bool = False) -> Preview:
    """The steps for a bundle (an absolute path). Raises ConfigError, as create does."""
    spec = read_config(bundle)
    cgroup = cgroups.make(spec.linux.text("cgroupsPath") or None, id)
    here = host_of(id, spec, cgroup, no_pivot, True)
    host = Host()
    problems: dict[int, str] = {}
    if "seccomp" in spec.linux:
        here.seccomp, problems[opcodes.SECCOMP] = _filter(spec)
    try:
        plan = compile_container(spec, here)
    except Refused as refused:
        raise config_error(spec.source, bundle, refused) from None
    items = [*_class_of_service(spec, id), *_before(spec, cgroup, plan, host)]
    for step in plan.steps:
        problem = problems.get(step.op, "") or cannot(plan, step, host)
        items.append(Item("init", step.name, arguments(plan, step), step.path, problem))
        if step.op == opcodes.SYNC and step.arguments[0] == opcodes.STAGE_CREATE_RUNTIME:
            items += _devices(spec)
            items += _hooks(spec, "prestart", "createRuntime")
        elif step.op == opcodes.GATE:
            items += _at_gate(spec, host)
    items += _hooks(spec, "poststart")
    return Preview(items, plan.warnings)


def _filter(spec: Spec) -> tuple[Any, str]:
    """The seccomp program, without the cache; a stand-in and the problem if it can't be made."""
    from pyrunc import seccomp
    from pyrunc._libseccomp import compile_profile

    try:
        return compile_profile(spec.linux.child("seccomp").data, seccomp.locate()[0]), ""
    except Error as error:
        return seccomp.Filter(b"", 0, False), error.message


def _before(spec: Spec, cgroup: Cgroup, plan: Plan, host: Host) -> Iterator[Item]:
    """What the runtime does before init's first step."""
    for controllers, mountpoint, path in cgroup.mounts():
        shown: dict[str, Value] = {"directory": mountpoint + path}
        if controllers:
            shown["controllers"] = [name for name in controllers]
        yield Item("runtime", "cgroup", shown, "linux.cgroupsPath", _unwritable(mountpoint))
    problem_path, problem = _impossible(spec, cgroup)
    for path, value in _leaves(spec.linux.child("resources").data, "linux.resources"):
        found = problem if problem_path and path.startswith(problem_path) else ""
        yield Item("runtime", "limit", {"value": value}, path, found)
    made = {mountpoint + path for _, mountpoint, path in cgroup.mounts()}
    for request in plan.fds:
        if request.kind in (FD_TREE, FD_TREE_RECURSIVE):
            there = request.value in made or os.path.exists(request.value)
            missing = "" if there else f"{request.value} does not exist"
            shown = {"source": request.value}
            if request.id_maps:
                shown["mapped"] = "recursively" if request.id_maps[2] else "yes"
            yield Item("runtime", "open_tree", shown, request.path, missing)
    new = [kind for kind, flag in NAMESPACES.items() if plan.clone_flags & flag]
    problem = _no_namespaces(new, host)
    yield Item("runtime", "clone3", {"namespaces": new} if new else {}, "linux.namespaces", problem)


def _unwritable(directory: str) -> str:
    return "" if os.access(directory, os.W_OK) else f"{directory} can't be written to"


def _impossible(spec: Spec, cgroup: Cgroup) -> tuple[str, str]:
    """The JSON path and the message of the first limit that this host's cgroups do not have."""
    from pyrunc.cgroup import limits_v1, limits_v2

    limits = spec.linux.child("resources").data
    try:
        if cgroup.version == "v2":
            limits_v2.refuse_impossible(limits)
        else:
            limits_v1.refuse_impossible(limits, cgroup.paths())
    except Error as error:
        return error.path, error.message
    return "", ""


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Value]]:
    """Every setting of an object with its JSON path; an object of an array as one text."""
    for name, item in value.items() if isinstance(value, dict) else ():
        if isinstance(item, dict):
            yield from _leaves(item, f"{path}.{name}")
        elif isinstance(item, list):
            for index, entry in enumerate(item):
                members = entry.items() if isinstance(entry, dict) else ()
                words = " ".join([f"{key}={_word(inner)}" for key, inner in members])
                yield f"{path}.{name}[{index}]", words or str(_word(entry))
        else:
            yield f"{path}.{name}", _word(item)


def _word(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _hooks(spec: Spec, *kinds: str) -> Iterator[Item]:
    for kind in kinds:
        for hook in spec.child("hooks").children(kind):
            shown: dict[str, Value] = {"file": hook.text("path"), "args": hook.texts("args")}
            yield Item("runtime", f"{kind} hook", shown, hook.path, _not_executable(hook.text("path")))


def _devices(spec: Spec) -> Iterator[Item]:
    for name in spec.linux.child("netDevices").data:
        new = spec.linux.child("netDevices").child(name).text("name")
        shown: dict[str, Value] = {"device": name}
        if new:
            shown["name"] = new
        there = os.path.exists(f"/sys/class/net/{name}")
        problem = "" if there else f"there is no network device {name} here"
        yield Item("runtime", "move network device", shown, f"linux.netDevices.{name}", problem)


def _class_of_service(spec: Spec, id: str) -> Iterator[Item]:
    if "intelRdt" in spec.linux:
        problem = ""
        try:
            resctrl_of(spec, id)
        except Error as error:
            problem = error.message
        shown: dict[str, Value] = {"closID": spec.linux.child("intelRdt").text("closID") or id}
        yield Item("runtime", "resctrl", shown, "linux.intelRdt", problem)


def _at_gate(spec: Spec, host: Host) -> Iterator[Item]:
    if "oomScoreAdj" in spec.process:
        score = spec.process.number("oomScoreAdj", 0, -1000, 1000)
        current = int(host.text("/proc/self/oom_score_adj") or 0)
        problem = ""
        if score < current and "CAP_SYS_RESOURCE" not in host.capabilities("CapEff"):
            problem = f"lowering it below {current} needs CAP_SYS_RESOURCE"
        yield Item("runtime", "oom_score_adj", {"value": score}, "process.oomScoreAdj", problem)
    yield Item("runtime", "created", {"then": "wait for start"}, "")


def cannot(plan: Plan, step: Step, host: Host) -> str:
    """Why this host can't take a step of init; "" if nothing speaks against it."""
    op, given = step.op, step.arguments
    if op == opcodes.MOUNT:
        kind = str(given[0])
        return "" if host.knows_file_system(kind) else f"this kernel has no file system {kind}"
    if op == opcodes.BIND and given[6]:
        source = str(given[6])
        return "" if os.path.exists(source) else f"{source} does not exist"
    if op == opcodes.UNSHARE:
        return _no_namespaces([kind for kind, flag in NAMESPACES.items() if int(str(given[0])) & flag], host)
    if op == opcodes.TIME_NAMESPACE:
        return _no_namespaces(["time"], host)
    if op == opcodes.HOOK and step.path.startswith("hooks.createContainer"):
        return _not_executable(str(given[0]))
    if op == opcodes.SYSCTL:
        file = "/proc/sys/" + str(given[0])
        return "" if os.path.exists(host.root + file) else f"this kernel has no {file}"
    if op == opcodes.PROC_WRITE:
        if "apparmor" in str(given[0]):
            return "" if host.apparmor else "AppArmor is not enabled on this host"
        if str(given[0]).startswith("attr/") and not host.selinux:
            return "SELinux is not enabled on this host"
    if op == opcodes.RLIMIT:
        return _rlimit(int(str(given[0])), int(str(given[2])), host)
    if op == opcodes.BOUNDING:
        wanted = arguments(plan, step).get("capabilities", [])
        have = host.capabilities("CapBnd")
        missing = [name for name in wanted if name not in have] if isinstance(wanted, list) else []
        return f"not in the caller's own bounding set: {', '.join(missing)}" if missing else ""
    if op == opcodes.SECCOMP and not host.status("Seccomp"):
        return "this kernel has no seccomp"
    return ""


def _no_namespaces(kinds: list[str], host: Host) -> str:
    missing = [kind for kind in kinds if kind not in host.namespaces()]
    if missing:
        return f"this kernel has no {', '.join(missing)} namespaces"
    if "user" in kinds and host.is_zero("/proc/sys/user/max_user_namespaces"):
        return "user namespaces are turned off: /proc/sys/user/max_user_namespaces is 0"
    return ""


def _not_executable(path: str) -> str:
    return "" if os.access(path, os.X_OK) else f"{path} is no executable file of this host"


def _rlimit(number: int, hard: int, host: Host) -> str:
    current = resource.getrlimit(number)[1]
    raised = current != resource.RLIM_INFINITY and hard > current
    if raised and "CAP_SYS_RESOURCE" not in host.capabilities("CapEff"):
        return f"raising the hard limit above {current} needs CAP_SYS_RESOURCE"
    return ""
