"""Hooks that run in the container's namespaces, as steps; the others are run by the parent."""

from __future__ import annotations

from pyrunc.plan import opcodes
from pyrunc.spec import I64
from pyrunc.state_json import state_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.plan import Host, Plan
    from pyrunc.spec import Spec

_STATUS = {"createContainer": "creating", "startContainer": "created"}


def container_hooks(plan: Plan, spec: Spec, host: Host, kind: str) -> None:
    """Each hook gets the state on its standard input; init puts its own pid into it."""
    hooks = spec.child("hooks").children(kind)
    if not hooks:
        return
    before, after = state_json(
        host.id, _STATUS[kind], host.bundle, spec.text("ociVersion"), spec.mapping("annotations")
    )
    for hook in hooks:
        path = hook.text("path")
        if path[:1] != "/":
            raise hook.refuse("path", "not absolute")
        timeout = hook.number("timeout", 0, 1, I64)
        arguments = hook.texts("args") or [path]
        plan.add(
            opcodes.HOOK,
            path,
            arguments,
            hook.texts("env"),
            timeout,
            before,
            after,
            path=hook.path,
        )
