"""Why a controller of cgroup v2 is missing, and how to get it. Loaded only when one is."""

from __future__ import annotations

from pyrunc.cgroup import files
from pyrunc.errors import Error


def missing(directory: str, controller: str, path: str, root: str = files.ROOT) -> Error:
    """The Error for a setting whose controller the cgroup ``directory`` doesn't have.

    The hint names the cgroup that keeps the controller from its children: the lowest ancestor which has it.
    """
    holder = directory
    while holder != root and not _has(holder, "cgroup.controllers", controller):
        holder = holder.rpartition("/")[0]
    error = files.unavailable(controller, path)
    error.subject = directory
    if not _has(holder, "cgroup.controllers", controller):
        hint = f"this kernel has it not on cgroup v2 (see {root}/cgroup.controllers)"
    elif controller in files.DELEGATED and ("/user@" in holder or "/user-" in holder):
        hint = (
            f"it ends at {holder}; as root, delegate it to users: systemctl edit user@.service, "
            "with Delegate=cpu cpuset io memory pids in [Service], then log in again"
        )
    elif holder != root and files.pids(holder):
        hint = (
            f"{holder} has processes of its own, so it can't give controllers to its children: "
            "move them into a child cgroup"
        )
    else:
        hint = f"it ends at {holder}; as root: echo +{controller} > {holder}/cgroup.subtree_control"
    error.hint = f"{hint}. Or remove {path} from config.json"
    return error


def _has(directory: str, file: str, controller: str) -> bool:
    try:
        return controller in files.read(f"{directory}/{file}").split()
    except OSError:
        return False
