"""Device rules, as v1 writes them and as v2's BPF program decides them. Pure functions."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    # (allow, type "b" | "c" | "a", major or -1 for any, minor or -1, access out of "rwm")
    Rule = tuple[bool, str, int, int, str]

# What a container may always do: make any node, and use the devices that the spec gives it. And tun, as
# with runc: without CAP_NET_ADMIN it is of no use, and VPNs in Kubernetes bind it without asking for it.
DEFAULTS: tuple[Rule, ...] = (
    (True, "c", -1, -1, "m"),
    (True, "b", -1, -1, "m"),
    (True, "c", 1, 3, "rwm"),
    (True, "c", 1, 5, "rwm"),
    (True, "c", 1, 7, "rwm"),
    (True, "c", 1, 8, "rwm"),
    (True, "c", 1, 9, "rwm"),
    (True, "c", 5, 0, "rwm"),
    (True, "c", 5, 1, "rwm"),
    (True, "c", 5, 2, "rwm"),
    (True, "c", 10, 200, "rwm"),
    (True, "c", 136, -1, "rwm"),
)


def rules(listed: list[dict[str, Any]]) -> list[Rule]:
    """linux.resources.devices in order, then the defaults that aren't in it.

    A rule for all devices makes the rules before it void, so they are left out. When all that is
    left allows, starting with "everything", there is nothing to add.
    """
    found: list[Rule] = []
    for device in listed:
        kind = device.get("type") or "a"
        major, minor = device.get("major"), device.get("minor")
        major = -1 if major is None else major
        minor = -1 if minor is None else minor
        access = "".join(a for a in "rwm" if a in (device.get("access") or "rwm"))
        allow = bool(device["allow"])
        if kind != "a":
            found.append((allow, kind, major, minor, access))
        elif major < 0 and minor < 0 and access == "rwm":
            found = [(allow, "a", -1, -1, "rwm")]
        else:
            # The kernel's "a" takes no numbers: it would mean every device.
            found.append((allow, "c", major, minor, access))
            found.append((allow, "b", major, minor, access))
    if not found or allows_all(found):
        return found
    only_allows = all(rule[0] for rule in found[1:])
    for rule in DEFAULTS:
        if not (only_allows and rule in found):
            found.append(rule)
    return found


def allows_all(found: list[Rule]) -> bool:
    """Whether the rules forbid nothing."""
    return bool(found) and found[0][1] == "a" and all(rule[0] for rule in found)


def line(rule: Rule) -> str:
    """A rule as devices.allow and devices.deny of v1 want it."""
    _, kind, major, minor, access = rule
    if kind == "a":
        return "a"
    return f"{kind} {'*' if major < 0 else major}:{'*' if minor < 0 else minor} {access}"


# BPF: opcode, destination | source << 4, jump offset (16 bits), immediate (32 bits).
_LOAD_W = 0x61  # dst = *(u32 *)(src + off)
_MOV_K, _MOV_X, _AND_K, _RSH_K = 0xB7, 0xBF, 0x57, 0x77
_JNE_K, _JEQ_K, _EXIT = 0x55, 0x15, 0x95
_TYPES = {"b": 1, "c": 2}
_ACCESS = {"m": 1, "r": 2, "w": 4}


def _insn(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    head = bytes((code, dst | src << 4))
    return head + off.to_bytes(2, "little") + (imm & 0xFFFFFFFF).to_bytes(4, "little")


def devices_program(found: list[Rule]) -> bytes:
    """The instructions (8 bytes each) of a BPF_PROG_TYPE_CGROUP_DEVICE program.

    Each requested access bit is decided by the last rule that matches, as in v1: so the rules
    are asked in reverse. r2 type (1 block, 2 char), r3 bits not decided yet, r4 major, r5 minor.
    An allowing rule takes its bits out of r3, and ends with 1 once none is left; a denying rule
    ends with 0 when one of its bits is in r3. Bits that no rule decides are denied.
    Little-endian, as are all machines that pyrunc is built for.
    """
    code = [
        _insn(_LOAD_W, 2, 1, 0),
        _insn(_MOV_X, 3, 2),
        _insn(_AND_K, 2, imm=0xFFFF),
        _insn(_RSH_K, 3, imm=16),
        _insn(_LOAD_W, 4, 1, 4),
        _insn(_LOAD_W, 5, 1, 8),
    ]
    for allow, kind, major, minor, access in reversed(found):
        verdict = [_insn(_MOV_K, 0, imm=int(allow)), _insn(_EXIT)]
        if kind == "a":
            code += verdict
            return b"".join(code)  # nothing after it could be reached; the verifier minds
        mask = sum(_ACCESS[a] for a in access)
        if allow:
            body = [_insn(_AND_K, 3, imm=~mask), _insn(_JNE_K, 3, off=2), *verdict]
        else:
            body = [
                _insn(_MOV_X, 1, 3),
                _insn(_AND_K, 1, imm=mask),
                _insn(_JEQ_K, 1, off=2),
                *verdict,
            ]
        wanted = [(2, _TYPES[kind])]
        if major >= 0:
            wanted.append((4, major))
        if minor >= 0:
            wanted.append((5, minor))
        for number, (register, value) in enumerate(wanted):
            skip = len(wanted) - number - 1 + len(body)
            code.append(_insn(_JNE_K, register, off=skip, imm=value))
        code += body
    code += [_insn(_MOV_K, 0, imm=0), _insn(_EXIT)]
    return b"".join(code)
