"""The fast leaf of the door for a configuration: it only accepts.

Types, ranges and names come from ``schema/shapes.py``, which is made from config-schema.json; what no schema
can say is in ``rules``. What is not accepted, ``validate`` finds again and explains.

A shape is one of:
    (properties, required, more)   an object; ``more`` is the shape of its other properties;
                                   None: ignore them, False: there must be none
    [item, least, most]            an array
    range                          an integer in it
    frozenset                      one of these strings
    str, bool                      any string; true or false
    function                       a string for which it is true (schema/formats.py)
"""

from __future__ import annotations

from pyrunc import rules
from pyrunc.schema import shapes
from pyrunc.spec import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from pyrunc.spec import Object, Spec


def config(spec: Spec) -> None:
    """Raises Refused for a config.json that no container can be made from."""
    _accept(spec.data, shapes.CONFIG, rules.config(spec.data))
    if _has_escapes(spec.source):
        for name in rules.READ:
            _obey(rules.text(spec.data.get(name), (name,)))


def process(object: Object, source: bytes) -> None:
    """Raises Refused for a process object that exec can't use; ``source``: the JSON that it was read from."""
    _accept(object.data, shapes.PROCESS, rules.process(object.data))
    if _has_escapes(source):
        _obey(rules.text(object.data, ()))


def resources(object: Object, source: bytes) -> None:
    """Raises Refused for what should have the form of linux.resources and has not; ``source`` as above."""
    _accept(object.data, shapes.RESOURCES, rules.resources(object.data))
    if _has_escapes(source):
        _obey(rules.text(object.data, ()))


def _accept(value: Any, shape: Any, faults: Iterable[rules.Found]) -> None:
    if not fits(value, shape):
        raise Refused("", "a value of another type than the specification says")
    _obey(faults)


def _obey(faults: Iterable[rules.Found]) -> None:
    for _, message, _ in faults:
        raise Refused("", message)


def _has_escapes(source: bytes) -> bool:
    """Whether JSON text may hold NUL or half of a surrogate pair: both can only come from an escape."""
    return b"\\u0000" in source or b"\\ud" in source or b"\\uD" in source


def fits(value: Any, shape: Any) -> bool:
    kind = type(shape)
    if kind is tuple:
        if type(value) is not dict:
            return False
        properties, required, more = shape
        for name, item in value.items():
            inner = properties.get(name, more)
            if inner is not None and (inner is False or not fits(item, inner)):
                return False
        return all(name in value for name in required)
    if kind is list:
        item, least, most = shape
        if type(value) is not list or not least <= len(value) <= most:
            return False
        if item is str:  # hundreds of them, in a seccomp profile
            return set(map(type, value)) <= {str}
        return all(fits(element, item) for element in value)
    if kind is type:
        return type(value) is shape
    if kind is range:
        return type(value) is int and value in shape
    return type(value) is str and (value in shape if kind is frozenset else bool(shape(value)))
