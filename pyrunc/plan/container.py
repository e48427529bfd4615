"""A container's whole plan: the table of contents of what pyrunc-init does between create and execve.

The order is forced by the kernel and the spec; each function below lives in a module of its concern.
"""

from __future__ import annotations

from pyrunc.plan import Plan, opcodes
from pyrunc.plan.devices import devices
from pyrunc.plan.hooks import container_hooks
from pyrunc.plan.mounts import mounts
from pyrunc.plan.namespaces import Namespaces, enter_namespaces
from pyrunc.plan.process import before_start, console, execute, working_directory
from pyrunc.plan.rootfs import old_tree, pivot, root_readonly
from pyrunc.plan.security import hidden_paths, sysctl
from pyrunc.plan.uts import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.plan import Host
    from pyrunc.spec import Spec


def compile_container(spec: Spec, host: Host) -> Plan:
    """config.json → plan. Raises spec.Refused for a value that can't be accepted."""
    plan = Plan()
    namespaces = Namespaces(spec)
    enter_namespaces(plan, spec, host, namespaces)
    names(plan, spec, namespaces)
    old_tree(plan, spec, host, namespaces)
    mounts(plan, spec, host, namespaces)
    devices(plan, spec, namespaces, host)
    if runtime_acts(spec):
        plan.add(opcodes.SYNC, opcodes.STAGE_CREATE_RUNTIME, path="hooks.createRuntime")
    container_hooks(plan, spec, host, "createContainer")
    console(plan, spec.process, bind=1)
    sysctl(plan, spec, namespaces)
    hidden_paths(plan, spec, host, namespaces)
    pivot(plan, spec, host, namespaces)
    if "process" in spec:
        working_directory(plan, spec.process, create=1)
    root_readonly(plan, spec)
    if "process" in spec:
        before_start(plan, spec.process, spec, host)
    plan.add(opcodes.GATE)
    container_hooks(plan, spec, host, "startContainer")
    execute(plan, spec.process, host)
    return plan


def runtime_acts(spec: Spec) -> bool:
    """Whether the parent has something to do when the mounts are there: devices to move, hooks to run."""
    hooks = spec.child("hooks")
    if hooks.children("prestart") or hooks.children("createRuntime"):
        return True
    return bool(spec.linux.child("netDevices").data)
