"""The kinds of hooks, in the order in which a container comes to them: config.md, POSIX-platform Hooks."""

from __future__ import annotations

# kind → (the operation that runs it, the namespaces that it runs in)
HOOKS: dict[str, tuple[str, str]] = {
    "prestart": ("create", "runtime"),
    "createRuntime": ("create", "runtime"),
    "createContainer": ("create", "container"),
    "startContainer": ("start", "container"),
    "poststart": ("start", "runtime"),
    "poststop": ("delete", "runtime"),
}
