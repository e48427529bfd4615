"""The rules of config.json that are prose in the specification: what no schema can say.

Pure functions over the parsed JSON, so that create refuses what ``validate`` explains: both run them. A value
of the wrong type is the schema's business: here it counts as absent. Every rule gives (where, message, hint).
"""

from __future__ import annotations

from pyrunc.plan.devices import MAJOR_MAX, MINOR_MAX
from pyrunc.plan.scheduling import CPUS, NODES
from pyrunc.plan.security import is_of_ipc, sysctl_name
from pyrunc.spec import U32, decimal
from pyrunc.vocabulary.hooks import HOOKS
from pyrunc.vocabulary.mount_options import KNOWN, is_bind, is_parameter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Where = tuple[str | int, ...]
    Found = tuple[Where, str, str]

# The part of the configuration that is read; all else may hold anything.
READ = ("root", "hostname", "domainname", "mounts", "process", "hooks", "annotations", "linux")


def _object(value: Any, *names: str) -> dict[str, Any]:
    for name in names:
        value = value.get(name) if type(value) is dict else None
    return value if type(value) is dict else {}


def _items(value: dict[str, Any], name: str) -> list[tuple[int, dict[str, Any]]]:
    """The objects of an array, with their indices."""
    array = value.get(name)
    if type(array) is not list:
        return []
    return [(index, item) for index, item in enumerate(array) if type(item) is dict]


def config(document: dict[str, Any]) -> Iterator[Found]:
    """Faults of a whole config.json."""
    linux = _object(document, "linux")
    spaces = {
        item["type"]: item.get("path") or ""
        for _, item in _items(linux, "namespaces")
        if type(item.get("type")) is str
    }
    for name in ("hostname", "domainname"):
        if document.get(name) and "uts" not in spaces:
            yield (name,), f"{name} without a uts namespace", "add the namespace uts"
    if "" in _object(document, "annotations"):
        yield ("annotations", ""), "the name must not be empty", ""
    if "process" in document:
        yield from _process(_object(document, "process"), ("process",))
    if "hooks" in document:
        yield from _hooks(_object(document, "hooks"))
    yield from _mounts(document, spaces)
    yield from _namespaces(linux)
    yield from _mappings(linux, spaces)
    yield from _linux(linux, spaces)
    if "resources" in linux:
        yield from resources(_object(linux, "resources"))
    if "seccomp" in linux:
        yield from _seccomp(_object(linux, "seccomp"))


def process(document: dict[str, Any]) -> Iterator[Found]:
    """Faults of a process object that stands alone."""
    return _process(document, ())


def text(value: Any, where: Where) -> Iterator[Found]:
    """Text that no system call can be given, anywhere below a value."""
    stack = [(where, value)]
    while stack:
        where, value = stack.pop()
        if type(value) is str:
            if "\0" in value:
                yield where, "must not contain a NUL character", ""
            if any("\ud800" <= character <= "\udfff" for character in value):
                yield where, "half of a surrogate pair is no character", ""
        elif type(value) is dict:
            for name, item in value.items():
                if "\0" in name:
                    yield (*where, name), "the name must not contain a NUL character", ""
                if any("\ud800" <= character <= "\udfff" for character in name):
                    yield (*where, name), "half of a surrogate pair is no character", ""
                stack.append(((*where, name), item))
        elif type(value) is list:
            stack += [((*where, index), item) for index, item in enumerate(value)]


def _process(entry: dict[str, Any], where: Where) -> Iterator[Found]:
    if entry and "args" not in entry:
        yield (*where, "args"), "is required", ""
    yield from _environment(entry, where)
    for name, processors in _object(entry, "execCPUAffinity").items():
        if not _is_number_list(processors, CPUS):
            yield (*where, "execCPUAffinity", name), f"must be ascending numbers below {CPUS}", ""
    seen: set[str] = set()
    for index, limit in _items(entry, "rlimits"):
        here = (*where, "rlimits", index)
        kind, soft, hard = limit.get("type"), limit.get("soft"), limit.get("hard")
        if type(kind) is str:
            if kind in seen:
                yield (*here, "type"), f"{kind} is there more than once", ""
            seen.add(kind)
        if type(soft) is int and type(hard) is int and soft > hard:
            yield (*here, "soft"), f"soft limit {soft} is above the hard limit {hard}", ""


def _environment(entry: dict[str, Any], where: Where) -> Iterator[Found]:
    """environ of POSIX: each entry is NAME=VALUE."""
    variables = entry.get("env")
    for index, variable in enumerate(variables if type(variables) is list else ()):
        if type(variable) is str and variable.find("=") < 1:
            yield (*where, "env", index), "must have the form NAME=VALUE", ""


def _hooks(hooks: dict[str, Any]) -> Iterator[Found]:
    for kind in HOOKS:
        for index, hook in _items(hooks, kind):
            yield from _environment(hook, ("hooks", kind, index))


def _mounts(document: dict[str, Any], spaces: dict[str, str]) -> Iterator[Found]:
    for index, mount in _items(document, "mounts"):
        where: Where = ("mounts", index)
        options = mount.get("options")
        if type(options) is not list:
            options = []
        if is_bind(options):
            if not mount.get("source"):
                yield (*where, "source"), "is required for a bind mount", ""
            for position, option in enumerate(options):
                # A parameter for a file system is in vain here, a misspelled `ro` would be harm.
                if type(option) is str and option and not is_parameter(option) and option not in KNOWN:
                    message = f"{option!r} is no option of a bind mount"
                    yield (*where, "options", position), message, ""
        elif not mount.get("type"):
            hint = "name the file system, or add the option bind or rbind"
            yield (*where, "type"), "is required", hint
        if "tmpcopyup" in options and mount.get("type") != "tmpfs":
            position = options.index("tmpcopyup")
            yield (*where, "options", position), "tmpcopyup is for a mount of type tmpfs", ""
        uids, gids = bool(mount.get("uidMappings")), bool(mount.get("gidMappings"))
        if uids != gids:
            missing = "gidMappings" if uids else "uidMappings"
            yield (*where, missing), "uidMappings and gidMappings need each other", ""
        for position, option in enumerate(options):
            if option in ("idmap", "ridmap") and not (uids or gids) and "user" not in spaces:
                message = f"{option} without mappings and without a user namespace"
                yield (*where, "options", position), message, ""


def _namespaces(linux: dict[str, Any]) -> Iterator[Found]:
    seen: set[str] = set()
    for index, entry in _items(linux, "namespaces"):
        where: Where = ("linux", "namespaces", index)
        kind, path = entry.get("type"), entry.get("path")
        if type(kind) is str:
            if kind in seen:
                yield (*where, "type"), f"namespace {kind} is there more than once", ""
            seen.add(kind)
        if type(path) is str and path and path[0] != "/":
            yield (*where, "path"), "must be an absolute path", ""


def _mappings(linux: dict[str, Any], spaces: dict[str, str]) -> Iterator[Found]:
    for name in ("uidMappings", "gidMappings"):
        if linux.get(name) and "user" not in spaces:
            yield ("linux", name), f"{name} without a user namespace", "add the namespace user"
        if "user" in spaces and not spaces["user"] and not linux.get(name):
            yield ("linux", name), "is required for a new user namespace", ""
    if linux.get("timeOffsets"):
        if "time" not in spaces:
            yield ("linux", "timeOffsets"), "timeOffsets without a time namespace", ""
        elif spaces["time"]:
            yield ("linux", "timeOffsets"), "a namespace that is joined has its offsets", ""


def _linux(linux: dict[str, Any], spaces: dict[str, str]) -> Iterator[Found]:
    for index, device in _items(linux, "devices"):
        for name, most in (("major", MAJOR_MAX), ("minor", MINOR_MAX)):
            number, where = device.get(name), ("linux", "devices", index, name)
            if device.get("type") != "p" and name not in device:
                yield where, "is required", ""
            elif device.get("type") != "p" and type(number) is int and most < number <= U32:
                yield where, f"must be at most {most}, is {number}", ""
    devices = _object(linux, "netDevices")
    if devices and "network" not in spaces:
        yield ("linux", "netDevices"), "netDevices without a network namespace", ""
    for host, device in devices.items():
        for name in (host, _object(device).get("name") or host):
            if type(name) is str and not _interface_name(name):
                yield ("linux", "netDevices", host), f"{name!r} cannot name an interface", ""
    for key in _object(linux, "sysctl"):
        yield from _sysctl(key, spaces)
    policy = _object(linux, "memoryPolicy")
    mode = policy.get("mode")
    if mode in ("MPOL_DEFAULT", "MPOL_LOCAL") and policy.get("nodes"):
        yield ("linux", "memoryPolicy", "nodes"), f"{mode} takes no nodes", ""
    if mode in ("MPOL_BIND", "MPOL_INTERLEAVE") and not policy.get("nodes"):
        yield ("linux", "memoryPolicy", "nodes"), f"{mode} needs at least one node", ""
    if not _is_number_list(policy.get("nodes"), NODES):
        yield ("linux", "memoryPolicy", "nodes"), f"must be ascending numbers below {NODES}", ""
    if spaces.get("mount") != "":
        for name in ("maskedPaths", "readonlyPaths"):
            if linux.get(name):
                yield ("linux", name), f"{name} without a new mount namespace", "add the namespace mount"
    clos = _object(linux, "intelRdt").get("closID")
    if type(clos) is str and (clos in (".", "..") or ("/" in clos and clos != "/")):
        yield ("linux", "intelRdt", "closID"), "must be the name of one directory", ""


def _is_number_list(text: Any, limit: int) -> bool:
    """Whether the ranges of a list such as 0-3,7 ascend below ``limit``. True for what the schema refuses."""
    for part in text.replace(" ", "").split(",") if type(text) is str else ():
        first, _, last = part.partition("-")
        if first.isdigit() and (last or first).isdigit():
            low, high = decimal(first, limit - 1), decimal(last or first, limit - 1)
            if low is None or high is None or low > high:
                return False
    return True


def _interface_name(name: str) -> bool:
    bad = any(character in "/:" or character.isspace() for character in name)
    return 0 < len(name.encode("utf-8", "replace")) <= 15 and name not in (".", "..") and not bad


def _sysctl(key: str, spaces: dict[str, str]) -> Iterator[Found]:
    where: Where = ("linux", "sysctl", key)
    name = sysctl_name(key)
    if any(step in ("", ".", "..", "/", "//") for step in name.split(".")):
        yield where, "is not the name of a kernel parameter", ""
    elif name == "kernel.hostname":
        yield where, "is set by hostname", "use hostname"
    elif name == "kernel.domainname":
        if "uts" not in spaces:
            yield where, "needs a uts namespace of the container", ""
    elif is_of_ipc(name):
        if "ipc" not in spaces:
            yield where, "needs an ipc namespace of the container", ""
    elif name.startswith("net."):
        if "network" not in spaces:
            yield where, "needs a network namespace of the container", ""
    elif name.startswith("user."):
        if "user" not in spaces:
            yield where, "needs a user namespace of the container", ""
    else:
        yield where, "is not in a namespace, so it would change the host", ""


def resources(document: dict[str, Any]) -> Iterator[Found]:
    """Faults of what has the form of linux.resources."""
    top: Where = ("linux", "resources")
    cpu = _object(document, "cpu")
    burst, quota = cpu.get("burst"), cpu.get("quota")
    if type(burst) is int and type(quota) is int and 0 < quota < burst:
        yield (*top, "cpu", "burst"), f"burst {burst} is above the quota {quota}", ""
    for index, device in _items(_object(document, "blockIO"), "weightDevice"):
        if "weight" not in device and "leafWeight" not in device:
            yield (*top, "blockIO", "weightDevice", index), "needs weight or leafWeight", ""
    for name, limits in _object(document, "rdma").items():
        if type(limits) is dict and not {"hcaHandles", "hcaObjects"} & set(limits):
            yield (*top, "rdma", name), "needs hcaHandles or hcaObjects", ""
    for key in _object(document, "unified"):
        if "/" in key or not key.partition(".")[2]:
            yield (*top, "unified", key), "is not the name of a file of a cgroup controller", ""


def _seccomp(profile: dict[str, Any]) -> Iterator[Found]:
    top: Where = ("linux", "seccomp")
    default = profile.get("defaultAction")
    if default == "SCMP_ACT_NOTIFY":
        yield (*top, "defaultAction"), "SCMP_ACT_NOTIFY cannot be the default", ""
    yield from _errno(default, profile.get("defaultErrnoRet"), (*top, "defaultErrnoRet"))
    listens = bool(profile.get("listenerPath"))
    if profile.get("listenerMetadata") and not listens:
        yield (*top, "listenerMetadata"), "listenerMetadata without listenerPath", ""
    for index, rule in _items(profile, "syscalls"):
        where = (*top, "syscalls", index)
        action, names = rule.get("action"), rule.get("names")
        if "errnoRet" in rule:
            yield from _errno(action, rule["errnoRet"], (*where, "errnoRet"))
        if action == "SCMP_ACT_NOTIFY":
            if type(names) is list and "write" in names:
                yield (*where, "action"), "SCMP_ACT_NOTIFY cannot be used on write", ""
            if not listens:
                yield (*top, "listenerPath"), "is required for SCMP_ACT_NOTIFY", ""


def _errno(action: Any, value: Any, where: Where) -> Iterator[Found]:
    if type(action) is not str or type(value) is not int:
        return
    largest = {"SCMP_ACT_ERRNO": 4095, "SCMP_ACT_TRACE": 0xFFFF}.get(action)
    if largest is None:
        yield where, f"{action} has no errno, so this must not be set", ""
    elif value > largest:
        yield where, f"must be at most {largest}, is {value}", ""
