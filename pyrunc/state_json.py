"""The state of a container as JSON text (runtime.md, State), written without the json module."""

from __future__ import annotations

import _json

TYPE_CHECKING = False
if TYPE_CHECKING:
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


def dump(value: Any) -> str:
    """JSON text of what parse_json could give: what the state is written with."""
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, dict):
        return "{" + ",".join([f"{quote(key)}:{dump(item)}" for key, item in value.items()]) + "}"
    return "[" + ",".join([dump(item) for item in value]) + "]"
