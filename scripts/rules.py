"""The rules that keep paths inside a rootfs from being used twice, checked in the source: make lint.

scripts/rules.py [FILE...]     C of pyrunc-init and Python of the package; without arguments, all of it

C (pyrunc/_native/init*.c, where the rootfs is):
  R1  no system call that takes only a path: open, mkdir, chmod, chown, unlink, rename, ...
  R2  *at and openat2 with AT_FDCWD, and mount(2), only in the functions named below, with the reason
  R3  *at with a name below an open directory does not follow a link: O_NOFOLLOW, AT_EMPTY_PATH, or the call
      follows none by itself
Python (pyrunc/):
  R4  no path that is made from a rootfs' goes to a function that resolves it
  R5  plan/ makes no system calls: no posix, no os
  R6  no module that loads code or data by name at run time in the runtime's own process: ctypes, pwd, grp
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Calls that resolve a path from the current directory, with no descriptor to begin at.
BY_PATH = set(
    [
        "open",
        "creat",
        "mkdir",
        "mknod",
        "rmdir",
        "unlink",
        "rename",
        "link",
        "symlink",
        "readlink",
        "chmod",
        "chown",
        "lchown",
        "stat",
        "lstat",
        "access",
        "truncate",
        "utime",
        "utimes",
        "statfs",
        "chroot",
        "chdir",
        "swapon",
        "acct",
        "setxattr",
        "lsetxattr",
        "removexattr",
        "umount",
        "mount",
    ]
)
AT = set(
    [
        "openat",
        "openat2",
        "mkdirat",
        "mknodat",
        "unlinkat",
        "renameat",
        "renameat2",
        "linkat",
        "symlinkat",
        "readlinkat",
        "fchmodat",
        "fchmodat2",
        "fchownat",
        "newfstatat",
        "statx",
        "faccessat",
        "faccessat2",
        "utimensat",
        "open_tree",
        "move_mount",
        "mount_setattr",
    ]
)
# Neither of these follows a link at the end of its path.
FOLLOWS_NONE = {
    "mkdirat",
    "mknodat",
    "unlinkat",
    "symlinkat",
    "readlinkat",
    "renameat",
    "renameat2",
    "openat2",
}
NO_LINK = ("O_NOFOLLOW", "EMPTY_PATH", "AT_SYMLINK_NOFOLLOW", "MOUNT_FD_FLAGS", ', ""', ', "."', "fd, 0,")

# function: what it may call by path, and why.
ALLOWED = {
    "step_cgroup_join": "openat",  # a cgroup of the host's, before any namespace is joined
    "open_root": "openat",  # "/", where exec has no ROOTFS step
    "step_rootfs": "openat",  # the one opening of the root
    "step_propagate": "mount_setattr",  # "/" of the new mount namespace
    "attach_masks": "move_mount",  # onto "/"
    "release_masks": "chdir",  # "/"
    "step_pivot": "chdir chroot move_mount",  # "/" and "."
    "step_chroot": "chroot",  # "."
    "clone_path": "open_tree",  # a source of the host's, as the configuration names it
    "clone_mask": "open_tree",  # a file of our own tmpfs
    "mount_legacy": "openat mount",  # a directory of our own tmpfs
    "step_time_namespace": "openat",  # /proc, verified; a namespace's link below it
    "executable_error": "newfstatat faccessat2",  # what execve will look at, after the pivot
}

_CALL = re.compile(r"\bSYS\(\s*(\w+)\b(?=([^;]*))")
_FUNCTION = re.compile(r"^[A-Za-z_][\w \*]*?\b(\w+)\([^;]*\{\s*$")


def check_c(text: str) -> Iterator[tuple[int, str]]:
    """(line, what is wrong) of a C file."""
    text = re.sub(r"/\*.*?\*/", lambda comment: re.sub(r"[^\n]", " ", comment[0]), text, flags=re.DOTALL)
    function = flags = ""
    for number, line in enumerate(text.splitlines(), 1):
        if line[:1] not in (" ", "\t", "", "}", "#"):
            begin = _FUNCTION.match(line)
            function, flags = begin[1] if begin else function, ""
        if " flags = " in line:
            flags = line
        for call in _CALL.finditer(line):
            rest = call[2] or ""
            fault = _fault(function, call[1], rest + flags if "flags" in rest else rest)
            if fault:
                yield number, fault


def _fault(function: str, name: str, rest: str) -> str:
    if name in ALLOWED.get(function, "").split():
        return ""
    if name in BY_PATH:
        return f"R1: {name} resolves a path in {function}(): use openat2 and a call that takes the descriptor"
    if name not in AT:
        return ""
    if "AT_FDCWD" in rest:
        return f"R2: {name} begins at AT_FDCWD in {function}(): use a descriptor of the root or below it"
    if name not in FOLLOWS_NONE and not any(word in rest for word in NO_LINK):
        return f"R3: {name} in {function}() may follow a link: add O_NOFOLLOW, or open with openat2"
    return ""


RESOLVES = BY_PATH | set(
    [
        "fchmodat",
        "makedirs",
        "listdir",
        "scandir",
        "walk",
        "remove",
        "replace",
        "rmtree",
        "copy",
        "copy2",
        "copyfile",
        "copytree",
        "move",
        "exists",
        "isdir",
        "isfile",
        "islink",
        "lexists",
        "realpath",
        "resolve",
        "read_text",
        "read_bytes",
        "write_text",
        "write_bytes",
        "touch",
        "mkfifo",
        "read_file",
        "getxattr",
        "listxattr",
        "utime",
        "system",
        "popen",
        "execv",
        "execve",
        "posix_spawn",
    ]
)
FORBIDDEN = {"ctypes", "pwd", "grp", "spwd", "pickle", "imp"}
EXCEPT = {
    # `spec --rootless` writes a file for its caller, and starts nothing.
    "pyrunc/cli/default_spec.py": {"pwd"},
    "pyrunc/_libseccomp.py": {"ctypes"},
}  # libseccomp itself, from the host, before anything is made


def check_python(text: str, file: str = "") -> Iterator[tuple[int, str]]:
    """(line, what is wrong) of a Python file; ``file`` is its path in the repository."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        names = _imports(node)
        for name in sorted(names & FORBIDDEN - EXCEPT.get(file, set())):
            yield node.lineno, f"R6: {name} loads what it is told to at run time"  # type: ignore[attr-defined]
        if "pyrunc/plan/" in file:
            for name in sorted(names & {"posix", "os", "_native"}):
                yield node.lineno, f"R5: plan/ computes and makes no system calls, but imports {name}"  # type: ignore[attr-defined]
    for scope in ast.walk(tree):
        if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef | ast.Module):
            yield from _paths(scope)


def _imports(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.module:
        return set(node.module.split("."))
    return set()


def _paths(scope: ast.FunctionDef | ast.AsyncFunctionDef | ast.Module) -> Iterator[tuple[int, str]]:
    """Follows what is made from a rootfs through the assignments of one function, in their order."""
    tainted: set[str] = set()
    for node in _own_nodes(scope):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if _is_of_rootfs(node.value, tainted):
                tainted |= {target.id for target in targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.Call):
            name = _called(node)
            arguments = [*node.args[:2], *(k.value for k in node.keywords if k.arg in ("path", "src", "dst"))]
            if isinstance(node.func, ast.Attribute) and name not in ("open",):
                arguments.append(node.func.value)
            if name in RESOLVES and any(_is_of_rootfs(argument, tainted) for argument in arguments):
                yield node.lineno, f"R4: {name} resolves a path of the rootfs: give it to the plan"


def _own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(scope):
        yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _own_nodes(child)


def _called(node: ast.Call) -> str:
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _is_of_rootfs(node: ast.AST, tainted: set[str]) -> bool:
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and (part.id in tainted or part.id == "rootfs"):
            return True
        if isinstance(part, ast.Attribute) and part.attr == "rootfs":
            return True
        key = part.slice if isinstance(part, ast.Subscript) else None
        if isinstance(key, ast.Constant) and key.value == "rootfs":
            return True
        if isinstance(part, ast.Call) and _called(part) == "rootfs_of":
            return True
    return False


def check(file: Path) -> list[str]:
    """The faults of a file, each with its place."""
    name = str(file.relative_to(ROOT)) if file.is_relative_to(ROOT) else str(file)
    text = file.read_text()
    found = check_c(text) if file.suffix == ".c" else check_python(text, name)
    return [f"{name}:{line}: {fault}" for line, fault in sorted(found)]


def files() -> list[Path]:
    native = ROOT / "pyrunc" / "_native"
    return [*sorted(native.glob("init*.c")), *sorted((ROOT / "pyrunc").rglob("*.py"))]


def main(arguments: list[str]) -> int:
    faults = [
        fault for file in [Path(name) for name in arguments] or files() for fault in check(file.resolve())
    ]
    print(*faults, sep="\n", end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
