"""The command line of `update`: its options, or a file, become linux.resources. Slow leaf."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from pyrunc.cli.report import warn
from pyrunc.errors import ConfigError, Usage
from pyrunc.spec import Object, Refused, drop_null, parse_json

_INTEGER = re.compile(r"-?[0-9]{1,20}")
_SIZE = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?) ?([kmgtp]?)(?:i?b)?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}

# Option to the place in linux.resources that it sets.
_NUMBERS = {
    "blkio_weight": ("blockIO", "weight"),
    "cpu_period": ("cpu", "period"),
    "cpu_quota": ("cpu", "quota"),
    "cpu_burst": ("cpu", "burst"),
    "cpu_share": ("cpu", "shares"),
    "cpu_rt_period": ("cpu", "realtimePeriod"),
    "cpu_rt_runtime": ("cpu", "realtimeRuntime"),
    "cpu_idle": ("cpu", "idle"),
    "pids_limit": ("pids", "limit"),
}
_SIZES = {
    "memory": ("memory", "limit"),
    "memory_reservation": ("memory", "reservation"),
    "memory_swap": ("memory", "swap"),
}
_TEXTS = {"cpuset_cpus": ("cpu", "cpus"), "cpuset_mems": ("cpu", "mems")}
_GONE = ("kernel_memory", "kernel_memory_tcp")  # the kernel has no such limits any more


def from_options(options: dict[str, Any]) -> dict[str, Any]:
    """linux.resources with what the options set. Raises Usage."""
    found: dict[str, Any] = {}
    for names, read in ((_NUMBERS, _integer), (_SIZES, size), (_TEXTS, _text)):
        for key, (group, name) in names.items():
            if options[key]:
                found.setdefault(group, {})[name] = read(key, options[key])
    for key in _GONE:
        if options[key]:
            warn(f"--{key.replace('_', '-')} is without effect: the kernel has no such limit any more")
    return found


def from_text(text: bytes) -> dict[str, Any]:
    """linux.resources from JSON. Raises ConfigError with all its faults."""
    from pyrunc import accept

    try:
        value = parse_json(text.decode("utf-8"))
        if type(value) is not dict:
            raise Refused("", "not an object")
        drop_null(value)
        accept.resources(Object(value, "linux.resources"), text)
        return value
    except (Refused, UnicodeDecodeError) as refused:
        from pyrunc.cli.main import enable_site
        from pyrunc.errors import Fault

        enable_site()
        from pyrunc.validate import resources_faults

        found = resources_faults(text) or [Fault("", str(refused))]
        raise ConfigError("the resources are refused", found) from None


def size(key: str, text: str) -> int:
    """Bytes of ``512M``, ``1.5GiB``, ``1048576``; units are powers of 1024; -1 is no limit."""
    if text == "-1":
        return -1
    match = _SIZE.fullmatch(text)
    if not match:
        raise _invalid(key, text, "a size such as 1048576, 512M or 1.5GiB; -1 for no limit")
    return int(Fraction(match[1]) * 1024 ** _POWERS[match[2].lower()])


def _integer(key: str, text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise _invalid(key, text, "an integer")
    return int(text)


def _text(key: str, text: str) -> str:
    return text


def _invalid(key: str, text: str, wanted: str) -> Usage:
    option = key.replace("_", "-")
    return Usage(f"invalid value for {option}: {text!r}", code="usage", subject=text, hint=f"give {wanted}")
