"""hostname and domainname."""

from __future__ import annotations

from pyrunc.plan import opcodes
from pyrunc.vocabulary.namespaces import CLONE_NEWUTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.plan import Plan
    from pyrunc.plan.namespaces import Namespaces
    from pyrunc.spec import Spec


def names(plan: Plan, spec: Spec, namespaces: Namespaces) -> None:
    """Set in the container's UTS namespace; without one they would change the host's."""
    for key, op in (("hostname", opcodes.HOSTNAME), ("domainname", opcodes.DOMAINNAME)):
        name = spec.text(key)
        if name:
            if not namespaces.has(CLONE_NEWUTS):
                raise spec.refuse(key, "needs a uts namespace")
            plan.add(op, name, path=key)
