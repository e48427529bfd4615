"""A seccomp profile compiled by libseccomp, through ctypes. Slow leaf of ``seccomp``.

What libseccomp cannot express is added here: numbers newer than the library answer ENOSYS.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys

from pyrunc import seccomp as base
from pyrunc.errors import Error
from pyrunc.vocabulary.seccomp import ACTIONS, ARCHITECTURES, FLAGS, OPERATORS, WITH_VALUE

EPERM_RETURN = errno.EPERM

# Architectures numbered from 0 in one row (not MIPS, PA-RISC…), as libseccomp names them.
_PLAIN_NUMBERS = (
    *("x86_64", "x86", "x32", "aarch64", "arm", "ppc", "ppc64", "ppc64le"),
    *("s390", "s390x", "riscv64", "loongarch64"),
)

_X32_BIT = 0x40000000
_ARM_PRIVATE = 0x000F0000
_ATTR_OPTIMIZE = 8
_OPTIMIZE_TREE = 2
_NUMBER_LIMIT = 1024  # higher than any kernel's numbers for years to come
_NO_SYSCALL = -1  # __NR_SCMP_ERROR

Rule = tuple[int, int, tuple[tuple[int, int, int, int], ...]]  # number, action, conditions


class _Compare(ctypes.Structure):
    """struct scmp_arg_cmp"""

    _fields_ = [
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    ]


class Library:
    """libseccomp.so.2; Error naming its package if there is none."""

    def __init__(self, name: str) -> None:
        try:
            self.so = ctypes.CDLL(name)
        except OSError as error:
            raise Error(
                "libseccomp is missing, so a seccomp profile cannot be compiled",
                code="seccomp-library",
                step="seccomp",
                path="linux.seccomp",
                subject=str(error),
                hint="install the package libseccomp2 (Fedora, Arch: libseccomp)",
            ) from None
        so, c_int, u32, pointer = self.so, ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p
        for function, result, *arguments in (
            ("seccomp_init", pointer, u32),
            ("seccomp_release", None, pointer),
            ("seccomp_arch_native", u32),
            ("seccomp_arch_resolve_name", u32, ctypes.c_char_p),
            ("seccomp_arch_add", c_int, pointer, u32),
            ("seccomp_attr_set", c_int, pointer, c_int, u32),
            ("seccomp_syscall_resolve_name", c_int, ctypes.c_char_p),
            ("seccomp_syscall_resolve_num_arch", pointer, u32, c_int),
            ("seccomp_rule_add_array", c_int, pointer, u32, c_int, ctypes.c_uint, pointer),
            ("seccomp_export_bpf", c_int, pointer, c_int),
        ):
            entry = getattr(so, str(function))
            entry.restype = result
            entry.argtypes = arguments
        self._free = ctypes.CDLL(None).free
        self._free.argtypes = [pointer]

    def number(self, name: str) -> int:
        """Number on the native architecture, below -1 for one of another, -1 if unknown."""
        return int(self.so.seccomp_syscall_resolve_name(name.encode("utf-8", "replace")))

    def newest(self, token: int, bit: int = 0) -> int:
        """The highest number that the library knows for an architecture, -1 if none."""
        for number in range(_NUMBER_LIMIT - 1, -1, -1):
            name = self.so.seccomp_syscall_resolve_num_arch(token, number | bit)
            if name:
                self._free(name)
                return number | bit
        return -1


def compile_profile(profile: dict[str, object], library: str) -> base.Filter:
    """The program of ``linux.seccomp``; Error with the path of what is wrong in it."""
    default_name = profile.get("defaultAction")
    default = _action(default_name, profile.get("defaultErrnoRet"), "default")
    if default_name == "SCMP_ACT_NOTIFY":
        raise base.refuse(
            "defaultAction", "SCMP_ACT_NOTIFY cannot be the default: the runtime would wait for it"
        )
    if profile.get("listenerMetadata") and not profile.get("listenerPath"):
        raise base.refuse("listenerMetadata", "listenerMetadata without listenerPath")
    so = Library(library)
    rules, notify = _rules(profile, default, so)
    if notify and not profile.get("listenerPath"):
        raise base.refuse("listenerPath", "SCMP_ACT_NOTIFY is used, but listenerPath is not set")
    context = so.so.seccomp_init(default)
    if not context:
        raise base.refuse("defaultAction", "libseccomp refuses this default action")
    try:
        tokens = _architectures(profile, so, context)
        # Since 2.5; an older library refuses it and makes a list, which is slower but the same.
        so.so.seccomp_attr_set(context, _ATTR_OPTIMIZE, _OPTIMIZE_TREE)
        for where, rule in rules:
            _add(so, context, where, rule)
        bpf = _export(so, context)
    finally:
        so.so.seccomp_release(context)
    if default_name in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRAP") or "KILL" in str(default_name):
        bpf = _prologue(so, tokens) + bpf
    if len(bpf) > 4096 * 8:
        raise base.refuse("", f"the filter has {len(bpf) // 8} instructions, the kernel takes 4096")
    return base.Filter(bpf, _flags(profile, notify), notify)


def _action(name: object, value: object, prefix: str) -> int:
    """SECCOMP_RET_* word; ``prefix`` is "default" or the path of a rule, ended by a dot."""
    if not isinstance(name, str) or name not in ACTIONS:
        action_path = "defaultAction" if prefix == "default" else prefix + "action"
        raise base.refuse(action_path, f"unknown action {name!r}")
    path = "defaultErrnoRet" if prefix == "default" else prefix + "errnoRet"
    largest = WITH_VALUE.get(name)
    if largest is None:
        if value is not None:
            raise base.refuse(path, f"{name} has no errno, so errnoRet must not be set")
        return ACTIONS[name]
    if value is None:
        value = EPERM_RETURN
    if type(value) is not int or not 0 <= value <= largest:
        raise base.refuse(path, f"{value!r} is not a number from 0 to {largest}")
    return ACTIONS[name] | value


def _list(container: dict[str, object], name: str, path: str) -> list[object]:
    value = container.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise base.refuse(path, "must be an array")
    return value


def _flags(profile: dict[str, object], notify: bool) -> int:
    flags = 0
    if profile.get("flags") is None:
        flags = base.SPEC_ALLOW  # as runc: no mitigation that nobody asked for
    for index, name in enumerate(_list(profile, "flags", "flags")):
        if not isinstance(name, str) or name not in FLAGS:
            raise base.refuse(f"flags[{index}]", f"unknown flag {name!r}")
        flags |= FLAGS[name]
    if notify:
        flags |= base.NEW_LISTENER
        if flags & base.TSYNC:  # the kernel takes the two only with this third
            flags |= base.TSYNC_ESRCH
    else:
        flags &= ~base.WAIT_KILLABLE_RECV  # EINVAL without a listener, and about nothing then
    return flags


def _architectures(profile: dict[str, object], so: Library, context: int) -> list[int]:
    """Add them; the tokens of all in the filter, the native one first."""
    tokens = [int(so.so.seccomp_arch_native())]
    for index, name in enumerate(_list(profile, "architectures", "architectures")):
        path = f"architectures[{index}]"
        if not isinstance(name, str) or name not in ARCHITECTURES:
            raise base.refuse(path, f"unknown architecture {name!r}")
        token = int(so.so.seccomp_arch_resolve_name(ARCHITECTURES[name].encode()))
        if not token:
            raise base.refuse(path, f"this libseccomp does not know {name}")
        if token in tokens:
            continue
        result = so.so.seccomp_arch_add(context, token)
        if result:
            raise base.refuse(path, f"libseccomp cannot filter {name} on this machine", errno=-result)
        tokens.append(token)
    return tokens


def _rules(profile: dict[str, object], default: int, so: Library) -> tuple[list[tuple[str, Rule]], bool]:
    """Every rule for libseccomp with its path, and whether one of them notifies."""
    rules: dict[Rule, str] = {}
    notify = False
    for index, entry in enumerate(_list(profile, "syscalls", "syscalls")):
        path = f"syscalls[{index}]"
        if not isinstance(entry, dict):
            raise base.refuse(path, "must be an object")
        name = entry.get("action")
        action = _action(name, entry.get("errnoRet"), path + ".")
        names = _list(entry, "names", path + ".names")
        if not names:
            raise base.refuse(path + ".names", "must have at least one entry")
        if name == "SCMP_ACT_NOTIFY" and "write" in names:
            raise base.refuse(
                path + ".action",
                "SCMP_ACT_NOTIFY cannot be used on write: the runtime would wait for it",
            )
        alternatives = _conditions(entry, path)
        for position, syscall in enumerate(names):
            if not isinstance(syscall, str):
                raise base.refuse(f"{path}.names[{position}]", "must be a string")
            number = so.number(syscall)
            # Unknown to the library: nothing to filter by. As the default: nothing to say.
            if number == _NO_SYSCALL or action == default:
                continue
            notify = notify or name == "SCMP_ACT_NOTIFY"
            for conditions in alternatives:
                rules.setdefault((number, action, conditions), f"{path}.names[{position}]")
    return [(where, rule) for rule, where in rules.items()], notify


def _conditions(entry: dict[str, object], path: str) -> list[tuple[tuple[int, int, int, int], ...]]:
    """Alternatives, each a conjunction of comparisons.

    libseccomp compares an argument once per rule. As in runc, a rule that does so more often
    becomes one rule for every comparison: any of them suffices.
    """
    result: list[tuple[int, int, int, int]] = []
    for position, argument in enumerate(_list(entry, "args", path + ".args")):
        where = f"{path}.args[{position}]"
        if not isinstance(argument, dict):
            raise base.refuse(where, "must be an object")
        op = argument.get("op")
        if not isinstance(op, str) or op not in OPERATORS:
            raise base.refuse(where + ".op", f"unknown operator {op!r}")
        index = argument.get("index")
        if type(index) is not int or not 0 <= index <= 5:
            raise base.refuse(where + ".index", "must be a number from 0 to 5")
        numbers = []
        for name in ("value", "valueTwo"):
            number = argument.get(name)
            if number is None and name == "valueTwo":
                number = 0
            if type(number) is not int or not 0 <= number < 1 << 64:
                raise base.refuse(f"{where}.{name}", "must be an unsigned 64-bit number")
            numbers.append(number)
        if op != "SCMP_CMP_MASKED_EQ":
            numbers[1] = 0
        result.append((index, OPERATORS[op], numbers[0], numbers[1]))
    if len({index for index, *_ in result}) < len(result):
        return [(comparison,) for comparison in result]
    return [tuple(result)]


def _add(so: Library, context: int, where: str, rule: Rule) -> None:
    number, action, conditions = rule
    array = (_Compare * max(len(conditions), 1))()
    for slot, comparison in enumerate(conditions):
        array[slot] = _Compare(*comparison)
    result = so.so.seccomp_rule_add_array(context, action, number, len(conditions), array)
    if result:
        raise base.refuse(where, f"libseccomp refuses the rule: {os.strerror(-result)}", errno=-result)


def _export(so: Library, context: int) -> bytes:
    fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    try:
        result = so.so.seccomp_export_bpf(context, fd)
        if result:
            raise base.refuse("", "libseccomp cannot make the program", errno=-result)
        os.lseek(fd, 0, os.SEEK_SET)
        data = b""
        while chunk := os.read(fd, 1 << 17):
            data += chunk
        return data
    finally:
        os.close(fd)


def _instruction(code: int, k: int, jt: int = 0, jf: int = 0) -> bytes:
    """struct sock_filter"""
    return code.to_bytes(2, sys.byteorder) + bytes((jt, jf)) + k.to_bytes(4, sys.byteorder)


def _prologue(so: Library, tokens: list[int]) -> bytes:
    """Answer ENOSYS to numbers newer than the library, so that callers try something older.

    No rule can name such a system call. It runs into libseccomp's program, which starts by
    loading the architecture itself.
    """
    load, jump, equal, greater, at_least, give = 0x20, 0x05, 0x15, 0x25, 0x35, 0x06
    known = {int(so.so.seccomp_arch_resolve_name(name.encode())): name for name in _PLAIN_NUMBERS}
    known.pop(0, None)
    ranges: dict[int, list[tuple[int, int]]] = {}  # audit architecture: (newest, end)
    for token in tokens:
        name = known.get(token)
        if name is None:
            continue
        audit, bit, end = token, 0, _X32_BIT
        if name == "x32":  # the same architecture to the kernel, told apart by a bit
            audit, bit, end = token | 0x80000000, _X32_BIT, 2 * _X32_BIT
        elif name == "arm":
            end = _ARM_PRIVATE
        newest = so.newest(token, bit)
        if newest >= 0:
            ranges.setdefault(audit, []).append((newest, end))
    blocks: list[list[bytes]] = []
    for audit, pairs in ranges.items():
        body = [_instruction(load, 0)]  # seccomp_data.nr
        for newest, end in pairs:
            body.append(_instruction(greater, newest, 0, 2))
            body.append(_instruction(at_least, end, 1, 0))
            body.append(_instruction(give, ACTIONS["SCMP_ACT_ERRNO"] | errno.ENOSYS))
        blocks.append([_instruction(equal, audit, 0, len(body) + 1), *body])
    program = b""
    for position, block in enumerate(blocks):
        rest = sum(len(later) + 1 for later in blocks[position + 1 :])
        program += b"".join(block) + _instruction(jump, rest)
    return _instruction(load, 4) + program if program else b""  # seccomp_data.arch
