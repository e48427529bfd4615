"""process: from a half-built container to the user's program."""

from __future__ import annotations

import _struct

from pyrunc.plan import FD_CONSOLE, opcodes
from pyrunc.plan.scheduling import scheduling
from pyrunc.spec import ID_MAX, U64
from pyrunc.vocabulary.capabilities import CAPABILITIES
from pyrunc.vocabulary.rlimits import LEAST, RLIMITS
from pyrunc.vocabulary.scheduling import DOMAINS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.plan import Host, Plan
    from pyrunc.spec import Object, Spec

_SYS_ADMIN = 1 << 21
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Capabilities:
    """The five sets as masks. An unknown capability is a warning, not an error (config.md)."""

    __slots__ = ("bounding", "effective", "permitted", "inheritable", "ambient", "unknown")

    def __init__(self, process: Object) -> None:
        sets = process.child("capabilities")
        self.unknown: list[str] = []
        self.bounding = self._mask(sets, "bounding")
        self.permitted = self._mask(sets, "permitted")
        self.effective = self._mask(sets, "effective") & self.permitted
        self.inheritable = self._mask(sets, "inheritable")
        self.ambient = self._mask(sets, "ambient") & self.permitted & self.inheritable

    def _mask(self, sets: Object, key: str) -> int:
        mask = 0
        for name in sets.texts(key):
            number = CAPABILITIES.get(name)
            if number is None:
                self.unknown.append(f"{sets.at(key)}: unknown capability {name} is left out")
            else:
                mask |= 1 << number
        return mask


def console(plan: Plan, process: Object, bind: int) -> None:
    """A pseudo-terminal on 0, 1 and 2, its master sent to whoever asked for it.

    ``bind``: 1 to have it at /dev/console too, as the container's own process does.
    """
    if not process.flag("terminal"):
        return
    size = process.child("consoleSize")
    path = process.at("terminal")
    plan.add(
        opcodes.CONSOLE,
        plan.fd(FD_CONSOLE, "", path),
        size.number("width", 0, 0, 0xFFFF),
        size.number("height", 0, 0, 0xFFFF),
        process.child("user").number("uid", 0, 0, ID_MAX),
        bind,
        path=path,
    )


def working_directory(plan: Plan, process: Object, create: int) -> None:
    """``create``: 1 to make a missing one, as runc and crun do."""
    cwd = process.text("cwd")
    if cwd[:1] != "/":
        raise process.refuse("cwd", "not absolute")
    plan.add(opcodes.CHDIR, cwd, create, path=process.at("cwd"))


def before_start(plan: Plan, process: Object, spec: Spec, host: Host) -> None:
    """All that can be done before `start`: identity, capabilities, labels, finding the program."""
    user = process.child("user")
    if not process.flag("terminal"):
        plan.add(opcodes.STDIO_OWNER, user.number("uid", 0, 0, ID_MAX), path=user.at("uid"))
    _labels(plan, process, host)
    _personality(plan, spec)
    scheduling(plan, process, spec)
    _rlimits(plan, process)
    capabilities = Capabilities(process)
    plan.warnings += capabilities.unknown
    plan.add(opcodes.BOUNDING, capabilities.bounding, path=process.at("capabilities.bounding"))
    uid, gid = user.number("uid", 0, 0, ID_MAX), user.number("gid", 0, 0, ID_MAX)
    if not keeps_groups(spec):
        groups = user.numbers("additionalGids", 0, ID_MAX)
        packed = _struct.pack(f"<{len(groups)}I", *groups)
        plan.add(opcodes.SETGROUPS, packed, path=user.at("additionalGids"))
    if not any(entry.startswith("HOME=") for entry in environment(process)):
        plan.add(opcodes.HOME, uid, path=process.at("env"))
    plan.add(opcodes.SETIDS, uid, gid, path=user.path)
    if "umask" in user:
        plan.add(opcodes.UMASK, user.number("umask", 0, 0, 0o777), path=user.at("umask"))
    # Without no_new_privs a filter can only be loaded with CAP_SYS_ADMIN, so that stays until then.
    late = host.seccomp is not None and not process.flag("noNewPrivileges")
    _capabilities(plan, process, capabilities, _SYS_ADMIN if late else 0)
    if process.flag("noNewPrivileges"):
        plan.add(opcodes.NO_NEW_PRIVILEGES, path=process.at("noNewPrivileges"))
    arguments = process.texts("args")
    if not arguments:
        raise process.refuse("args", "empty")
    plan.add(opcodes.LOOKUP, arguments[0], search_path(process), path=process.at("args"))


def keeps_groups(spec: Spec) -> bool:
    """Whether the caller's supplementary groups stay, as Podman's `--group-add keep-groups` wants it."""
    return spec.mapping("annotations").get("run.oci.keep_original_groups") == "1"


def execute(plan: Plan, process: Object, host: Host) -> None:
    """After `start`: the lowest limits, the filter as late as can be, the last capabilities, execve."""
    for resource, soft, hard, path in plan.late_limits:
        plan.add(opcodes.RLIMIT, resource, soft, hard, path=path)
    if host.seccomp is not None and "args" in process:
        plan.notifies = host.seccomp.notify
        plan.add(opcodes.SECCOMP, host.seccomp.bpf, host.seccomp.flags, path="linux.seccomp")
        if not process.flag("noNewPrivileges"):
            _capabilities(plan, process, Capabilities(process), 0)
    plan.add(opcodes.EXEC, process.texts("args"), environment(process), path=process.at("args"))


def search_path(process: Object) -> str:
    """The PATH that the process itself will have."""
    for entry in reversed(process.texts("env")):
        if entry.startswith("PATH="):
            return entry[5:]
    return _DEFAULT_PATH


def environment(process: Object) -> list[str]:
    """As given; a later entry of one name replaces an earlier one, as runc has it.

    Without an empty HOME, which engines write where they found none: then the user's own is looked up.
    """
    entries: dict[str, str] = {}
    for entry in process.texts("env"):
        entries[entry.partition("=")[0]] = entry
    if entries.get("HOME") == "HOME=":
        del entries["HOME"]
    return list(entries.values())


def _capabilities(plan: Plan, process: Object, sets: Capabilities, extra: int) -> None:
    path = process.at("capabilities")
    effective, permitted = sets.effective | extra, sets.permitted | extra
    plan.add(opcodes.CAPABILITIES, effective, permitted, sets.inheritable, path=path)
    if not extra:
        plan.add(opcodes.AMBIENT, sets.ambient, path=f"{path}.ambient")


def _rlimits(plan: Plan, process: Object) -> None:
    seen = set()
    for item in process.children("rlimits"):
        resource = RLIMITS.get(item.text("type"))
        if resource is None or resource in seen:
            raise item.refuse("type", "unknown, or given twice")
        seen.add(resource)
        soft, hard = item.number("soft", 0, 0, U64), item.number("hard", 0, 0, U64)
        if soft > hard:
            raise item.refuse("soft", "above hard")
        least = LEAST.get(resource, 0)
        if soft < least or hard < least:
            # Raised now, while that is allowed, and lowered when the runtime needs no more of it.
            plan.late_limits.append((resource, soft, hard, item.path))
            soft, hard = least, max(least, hard)
            if hard == least:
                continue
        plan.add(opcodes.RLIMIT, resource, soft, hard, path=item.path)


def _labels(plan: Plan, process: Object, host: Host) -> None:
    """What security modules know the process by; a new session keyring has its SELinux label too."""
    profile = process.text("apparmorProfile")
    if profile:
        path = process.at("apparmorProfile")
        plan.add(opcodes.PROC_WRITE, "attr/apparmor/exec", f"exec {profile}", path=path)
    label = process.text("selinuxLabel")
    if label:
        plan.add(opcodes.PROC_WRITE, "attr/exec", label, path=process.at("selinuxLabel"))
    if host.new_keyring:
        if label:
            plan.add(opcodes.PROC_WRITE, "attr/keycreate", label, path=process.at("selinuxLabel"))
        plan.add(opcodes.KEYRING)


def _personality(plan: Plan, spec: Spec) -> None:
    personality = spec.linux.child("personality")
    if personality.data:
        domain = DOMAINS.get(personality.text("domain"))
        if domain is None or personality.texts("flags"):
            raise personality.refuse("domain")
        plan.add(opcodes.PERSONALITY, domain, path=personality.path)
