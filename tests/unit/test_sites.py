"""Where the launcher, which reads neither .pth files nor pyvenv.cfg, finds the packages that pyrunc needs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import pyrunc
from pyrunc.cli.main import enable_site


def test_packages_may_be_beside_pyrunc_or_where_debian_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/first"])
    enable_site()
    own = str(Path(pyrunc.__file__).parents[1])
    local = f"/usr/local/lib/python3.{sys.version_info[1]}/dist-packages"
    assert sys.path == ["/first", own, "/usr/lib/python3/dist-packages", local]
    enable_site()
    assert len(sys.path) == 4
