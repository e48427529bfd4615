"""A container of a user's that has no cgroup."""

from __future__ import annotations

from pathlib import Path

from pyrunc.cgroup.base import Cgroup
from pyrunc.cgroup.missing import missing
from pyrunc.cgroup.rootless import AbsentCgroup


def wanting(kind: type[Cgroup]) -> set[str]:
    """The methods that a driver would have to have and has not."""
    methods = {name: getattr(kind, name) for name in dir(kind) if callable(getattr(kind, name))}
    codes = {name: getattr(method, "__code__", None) for name, method in methods.items()}
    return {name for name, code in codes.items() if code and "NotImplementedError" in code.co_names}


def test_it_answers_all_that_a_cgroup_is_asked() -> None:
    assert wanting(Cgroup) and not wanting(AbsentCgroup)


def test_who_delegates_a_controller_depends_on_it(tmp_path: Path) -> None:
    """systemd gives users the controllers that it knows; others have to be passed on by hand."""
    user = tmp_path / "user.slice/user-1000.slice"
    (user / "user@1000.service/a.scope").mkdir(parents=True)
    for directory in (tmp_path, tmp_path / "user.slice", user):
        (directory / "cgroup.controllers").write_text("cpuset cpu io memory hugetlb pids")
    scope = str(user / "user@1000.service/a.scope")
    assert "systemctl edit user@.service" in missing(scope, "cpuset", "linux", str(tmp_path)).hint
    by_hand = missing(scope, "hugetlb", "linux", str(tmp_path)).hint
    assert f"echo +hugetlb > {user}/cgroup.subtree_control" in by_hand
