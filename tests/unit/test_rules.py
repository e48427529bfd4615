"""The lint of the rules about paths finds what it is there for."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_PATH = Path(__file__).resolve().parents[2] / "scripts" / "rules.py"
_SPEC = importlib.util.spec_from_file_location("rules", _PATH)
assert _SPEC and _SPEC.loader
rules = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(rules)


def test_the_source_follows_the_rules() -> None:
    assert [fault for file in rules.files() for fault in rules.check(file)] == []


def c(line: str, function: str = "step_new") -> list[str]:
    text = f"static void {function}(struct init *c) {{\n  {line}\n}}\n"
    return [fault for _, fault in rules.check_c(text)]


@pytest.mark.parametrize(
    "line",
    [
        "SYS(open, path, O_RDONLY);",
        "SYS(mkdir, path, 0755);",
        "must(c, SYS(chmod, path, 0755), PLAN_AT_NONE, path);",
        "SYS(chown, path, 0, 0);",
        "SYS(unlink, path);",
        "SYS(rename, path, other);",
        "SYS(mount, source, path, type, flags, data);",
        "SYS(umount2, path, 2), SYS(umount, path);",
        "int fd = (int)SYS(openat, AT_FDCWD, path, O_RDONLY);",
        "SYS(openat2, AT_FDCWD, path, &how, sizeof how);",
        "SYS(mkdirat, AT_FDCWD, path, 0755);",
        "SYS(openat, parent, leaf, O_RDWR | O_CLOEXEC);",
        "SYS(fchownat, parent, leaf, 0, 0, 0);",
        "SYS(fchmodat, parent, leaf, 0755);",
        "SYS(open_tree, parent, leaf, OPEN_TREE_CLONE);",
        "SYS(move_mount, tree, name, onto, path, 0);",
        'SYS(open_tree, AT_FDCWD, "/", OPEN_TREE_CLONE);',
    ],
)
def test_c_that_breaks_a_rule(line: str) -> None:
    assert len(c(line)) == 1


@pytest.mark.parametrize(
    "line",
    [
        "SYS(openat2, root, path, &how, sizeof how);",
        "SYS(mkdirat, parent, leaf, 0755);",
        "SYS(openat, parent, leaf, O_PATH | O_NOFOLLOW | O_CLOEXEC);",
        'SYS(fchownat, node, "", uid, gid, AT_EMPTY_PATH);',
        'SYS(open_tree, fd, "", flags);',
        'SYS(move_mount, tree, "", onto, "", MOUNT_FD_FLAGS);',
        "/* SYS(open, path, O_RDONLY); */",
        "SYS(fchdir, fd);",
        "int flags = O_RDONLY | O_NOFOLLOW;\n  SYS(openat, from, name, flags);",
    ],
)
def test_c_that_follows_them(line: str) -> None:
    assert c(line) == []


def test_what_is_allowed_is_so_in_its_function_only() -> None:
    line = "SYS(openat, AT_FDCWD, path, O_PATH);"
    assert c(line, "step_rootfs") == []
    assert len(c(line, "step_bind")) == 1


def python(body: str, file: str = "pyrunc/new.py") -> list[str]:
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return [fault for _, fault in rules.check_python(f"def function(host, record):\n{lines}\n", file)]


@pytest.mark.parametrize(
    "body",
    [
        "open(host.rootfs)",
        'posix.mkdir(f"{host.rootfs}/dev")',
        'posix.open(record["rootfs"], 0)',
        'path = record["rootfs"]\nposix.unlink(path)',
        'path = host.rootfs + "/dev"\nother = f"{path}/null"\nposix.chown(other, 0, 0)',
        'shutil.rmtree(os.path.join(host.rootfs, "dev"))',
        "posix.chmod(rootfs_of(spec, bundle), 0o755)",
        "Path(host.rootfs).mkdir()",
        "posix.symlink(target, host.rootfs)",
        "rootfs = 1\nposix.stat(rootfs)",
        'read_file(path=host.rootfs + "/etc/passwd")',
        "os.walk(host.rootfs)",
    ],
)
def test_python_that_breaks_a_rule(body: str) -> None:
    assert len(python(body)) == 1


@pytest.mark.parametrize(
    "body",
    [
        "posix.mkdir(host.bundle)",
        "plan.add(opcodes.ROOTFS, tree, host.rootfs)",
        'record["rootfs"] = host.rootfs',
        'posix.open("state.json", 0, dir_fd=fd)',
    ],
)
def test_python_that_follows_them(body: str) -> None:
    assert python(body) == []


@pytest.mark.parametrize("module", ["posix", "os", "pyrunc._native.load"])
def test_the_compiler_of_plans_makes_no_system_call(module: str) -> None:
    assert (
        len(
            python(
                f"import {module}" if "." not in module else f"from {module} import clone", "pyrunc/plan/x.py"
            )
        )
        == 1
    )
    assert python("import posix", "pyrunc/launch.py") == []


@pytest.mark.parametrize("module", ["ctypes", "pwd", "grp", "pickle"])
def test_nothing_loads_code_by_name(module: str) -> None:
    assert len(python(f"import {module}")) == 1


def test_the_command_fails(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    bad = tmp_path / "init_bad.c"
    bad.write_text("void f(void) {\n  SYS(open, path, 0);\n}\n")
    assert rules.main([str(bad)]) == 1
    assert f"{bad}:2: R1" in capsys.readouterr().out
