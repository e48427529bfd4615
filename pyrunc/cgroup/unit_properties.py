"""linux.resources as properties of a systemd unit: systemd.resource-control(5). Pure functions.

A property is (name, (D-Bus signature, value)). What systemd has no word for is left to the cgroup's files.
"""

from __future__ import annotations

from pyrunc.cgroup import devices, files
from pyrunc.cgroup.limits_v2 import cpu_weight
from pyrunc.spec import decimal, number_mask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.cgroup.unit import Unit

    Property = tuple[str, tuple[str, Any]]
    Resources = dict[str, Any]

INFINITY = 0xFFFFFFFFFFFFFFFF
_SECOND = 1_000_000
_NUMBERS = 65536  # of processors and memory nodes: more than any kernel has
PREFIX = "org.systemd.property."

_ACCOUNTING: list[Property] = [
    (name, ("b", True)) for name in ("MemoryAccounting", "CPUAccounting", "IOAccounting", "TasksAccounting")
]


def of_unit(id: str, unit: Unit, pid: int) -> list[Property]:
    """What every scope has; one that failed leaves no trace either. A container may be a whole slice, too."""
    found: list[Property] = [("Description", ("s", f"pyrunc container {id}")), *_ACCOUNTING]
    if unit.is_slice:
        return [*found, ("Wants", ("as", [unit.slice]))]
    return [
        *found,
        ("Slice", ("s", unit.slice)),
        ("PIDs", ("au", [pid])),
        ("Delegate", ("b", True)),
        ("DefaultDependencies", ("b", False)),
        ("CollectMode", ("s", "inactive-or-failed")),
    ]


def of_resources(resources: Resources, user: bool, update: bool = False) -> list[Property]:
    """The limits; ``user``: a user's manager can't restrict devices. ``update``: a zero is none."""
    found: list[Property] = []
    _memory(found, resources.get("memory") or {})
    _cpu(found, resources.get("cpu") or {})
    _pids(found, resources.get("pids") or {}, update)
    _block_io(found, resources.get("blockIO") or {})
    _unified(found, resources.get("unified") or {})
    if resources.get("devices") and not user:
        found += of_devices(resources["devices"])
    return found


def of_resources_v1(resources: Resources, update: bool = False) -> list[Property]:
    """The limits for which systemd writes files of v1; those that it converts from v2's would be rounded."""
    found: list[Property] = []
    cpu, memory = resources.get("cpu") or {}, resources.get("memory") or {}
    weight = (resources.get("blockIO") or {}).get("weight")
    if memory.get("limit"):
        found.append(("MemoryLimit", _bytes(memory["limit"])))
    if cpu.get("shares"):
        found.append(("CPUShares", ("t", cpu["shares"])))
    _quota(found, cpu.get("quota") or 0, cpu.get("period") or 0)
    _pids(found, resources.get("pids") or {}, update)
    if weight:
        found.append(("BlockIOWeight", ("t", weight)))
    if resources.get("devices"):
        found += of_devices(resources["devices"])
    return found


def _pids(found: list[Property], pids: Resources, update: bool) -> None:
    limit = pids.get("limit")
    if limit is not None and (limit or not update):
        # systemd takes TasksMax=0 for an error; the file gets the 0.
        found.append(("TasksMax", ("t", INFINITY if limit < 0 else max(limit, 1))))


def _bytes(value: int) -> tuple[str, int]:
    return "t", INFINITY if value < 0 else value


def _memory(found: list[Property], memory: Resources) -> None:
    limit, swap = memory.get("limit") or 0, memory.get("swap") or 0
    if limit:
        found.append(("MemoryMax", _bytes(limit)))
    if memory.get("reservation"):
        found.append(("MemoryLow", _bytes(memory["reservation"])))
    if swap < 0 or swap >= limit > 0:
        found.append(("MemorySwapMax", _bytes(swap if swap < 0 else swap - limit)))


def _cpu(found: list[Property], cpu: Resources) -> None:
    if cpu.get("idle"):
        found.append(("CPUWeight", ("t", 0)))
    elif cpu.get("shares"):
        found.append(("CPUWeight", ("t", cpu_weight(cpu["shares"]))))
    _quota(found, cpu.get("quota") or 0, cpu.get("period") or 0)
    for key, name in (("cpus", "AllowedCPUs"), ("mems", "AllowedMemoryNodes")):
        if cpu.get(key):
            found.append((name, ("ay", bit_mask(cpu[key]))))


_THROTTLES = (
    ("throttleReadBpsDevice", "IOReadBandwidthMax"),
    ("throttleWriteBpsDevice", "IOWriteBandwidthMax"),
    ("throttleReadIOPSDevice", "IOReadIOPSMax"),
    ("throttleWriteIOPSDevice", "IOWriteIOPSMax"),
)


def _block_io(found: list[Property], block: Resources) -> None:
    if block.get("weight"):
        found.append(("IOWeight", ("t", _io_weight(block["weight"]))))
    weights = [each for each in block.get("weightDevice") or [] if each.get("weight")]
    if weights:
        listed = [(_node(each), _io_weight(each["weight"])) for each in weights]
        found.append(("IODeviceWeight", ("a(st)", listed)))
    for key, name in _THROTTLES:
        if block.get(key):
            listed = [(_node(each), each["rate"] or INFINITY) for each in block[key]]
            found.append((name, ("a(st)", listed)))


def _io_weight(weight: int) -> int:
    """What systemd makes ``weight`` in io.bfq.weight of: up to 100 as it is, above 9900 parts of 900."""
    return weight if weight <= 100 else 100 + (weight - 100) * 11


def _node(device: Resources) -> str:
    return f"/dev/block/{device['major']}:{device['minor']}"


def _quota(found: list[Property], quota: int, period: int) -> None:
    if period:
        found.append(("CPUQuotaPeriodUSec", ("t", period)))
    if quota:
        # systemd counts in steps of 10 ms for each second: up, or the container would get less.
        share = -(-quota * _SECOND // (period or 100_000))
        share = INFINITY if quota < 0 else min(-(-share // 10_000) * 10_000, INFINITY)
        found.append(("CPUQuotaPerSecUSec", ("t", share)))


def bit_mask(text: str) -> list[int]:
    """ "0-2,8" as the bytes of a bit mask, the lowest first; raises Error."""
    mask = number_mask(text, _NUMBERS)
    if mask is None:
        raise files.failure(
            f'"{text}" is not a list of numbers like 0-2,8', text, path="linux.resources.cpu.cpus"
        )
    return list(mask.to_bytes((mask.bit_length() + 7) // 8, "little"))


_POWERS = ("K", "M", "G", "T", "P", "E")
_UNIFIED_BYTES = {
    "memory.high": "MemoryHigh",
    "memory.low": "MemoryLow",
    "memory.min": "MemoryMin",
    "memory.max": "MemoryMax",
    "memory.swap.max": "MemorySwapMax",
    "pids.max": "TasksMax",
    "cpu.weight": "CPUWeight",
}


def _amount(word: str) -> int:
    """A number as the kernel reads it (memparse: 64M), INFINITY for max; -1 for what is none."""
    if word == "max":
        return INFINITY
    digits, power = word, 0
    if word[-1:].upper() in _POWERS:
        digits, power = word[:-1], _POWERS.index(word[-1:].upper()) + 1
    number = decimal(digits)
    return -1 if number is None else min(number << 10 * power, INFINITY)


def _unified(found: list[Property], unified: dict[str, str]) -> None:
    """What systemd would else undo at its next look. Unreadable values are told when they are written."""
    for key, value in unified.items():
        word = value.strip()
        amount = _amount(word) if key in _UNIFIED_BYTES else -1
        if amount >= 0:
            found.append((_UNIFIED_BYTES[key], ("t", amount)))
        elif key == "cpu.max":
            quota, _, period = word.partition(" ")
            runs, within = -1 if quota == "max" else decimal(quota), decimal(period or "0")
            if runs is not None and within is not None:
                _quota(found, runs, within)
        elif key == "cpu.idle" and word == "1":
            found.append(("CPUWeight", ("t", 0)))
        elif key in ("cpuset.cpus", "cpuset.mems") and word:
            name = "AllowedCPUs" if key == "cpuset.cpus" else "AllowedMemoryNodes"
            found.append((name, ("ay", bit_mask(word))))
        elif key == "memory.oom.group" and word in ("0", "1"):
            found.append(("OOMPolicy", ("s", "kill" if word == "1" else "continue")))


def of_devices(listed: list[dict[str, Any]]) -> list[Property]:
    """All that the rules may allow: our own program decides the rest, and after a reload both still do."""
    rules = devices.rules(listed)
    if not rules or devices.allows_all(rules) or (rules[0][0] and rules[0][1] == "a"):
        return [("DevicePolicy", ("s", "auto")), ("DeviceAllow", ("a(ss)", []))]
    # Paths by number need no node. Numbers without a minor are a whole major.
    allowed: dict[str, str] = {}
    for allow, kind, major, minor, access in rules:
        if not allow:
            continue
        group = "char" if kind == "c" else "block"
        if major < 0:
            name = f"{group}-*"
        elif minor < 0:
            name = f"{group}-{major}"
        else:
            name = f"/dev/{group}/{major}:{minor}"
        allowed[name] = "".join(a for a in "rwm" if a in access or a in allowed.get(name, ""))
    return [("DevicePolicy", ("s", "strict")), ("DeviceAllow", ("a(ss)", list(allowed.items())))]


def of_annotations(annotations: dict[str, str]) -> list[Property]:
    """org.systemd.property.NAME = value, written as GVariant text."""
    found: list[Property] = []
    for key, text in annotations.items():
        if not key.startswith(PREFIX):
            continue
        from pyrunc.cgroup.gvariant import parse

        name = key[len(PREFIX) :]
        try:
            if len(name) < 3 or not name.isascii() or not name.isalpha():
                raise ValueError("not the name of a property")
            signature, value = parse(text)
        except ValueError as error:
            raise files.failure(
                f"annotation {key} is not a property of systemd: {error}",
                text,
                path=f'annotations["{key}"]',
                hint="the value is GVariant text: 'words', true, uint64 5000000, ['a', 'b']",
            ) from None
        if name.endswith("Sec") and not name.endswith("USec") and signature in "iuxtd":
            name, signature, value = name[:-3] + "USec", "t", int(value * _SECOND)
        found.append((name, (signature, value)))
    return found
