"""The state of a container as JSON text (runtime.md, State), written without the json module."""

from __future__ import annotations

import _json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

quote = _json.encode_basestring_ascii


def state_json(
    id: str, status: str, bundle: str, oci_version: str, annotations: dict[str, str]
) -> tuple[str, str]:
    """The text before and after the number of the pid: hooks of the container see another pid."""
    before = f'{{"ociVersion":{quote(oci_version)},"id":{quote(id)},"status":"{status}","pid":'
    after = f',"bundle":{quote(bundle)}'
    if annotations:
        after += f',"annotations":{dump(annotations)}'
    return before, after + "}"


def encoder(quote: Callable[[str], str]) -> Callable[[Any], str]:
    """Writes compact JSON text with the scanner's twin in C; ``quote`` writes the strings."""
    encode = _json.make_encoder(None, _refuse, quote, None, ":", ",", False, False, True)
    return lambda value: "".join(encode(value, 0))


def _refuse(value: object) -> None:
    raise TypeError(f"not a JSON value: {type(value).__name__}")


# What the state is written with.
dump = encoder(quote)
