"""A container of a user's that has no cgroup."""

from __future__ import annotations

from pyrunc.cgroup.base import Cgroup
from pyrunc.cgroup.rootless import AbsentCgroup


def wanting(kind: type[Cgroup]) -> set[str]:
    """The methods that a driver would have to have and has not."""
    methods = {name: getattr(kind, name) for name in dir(kind) if callable(getattr(kind, name))}
    codes = {name: getattr(method, "__code__", None) for name, method in methods.items()}
    return {name for name, code in codes.items() if code and "NotImplementedError" in code.co_names}


def test_it_answers_all_that_a_cgroup_is_asked() -> None:
    assert wanting(Cgroup) and not wanting(AbsentCgroup)
