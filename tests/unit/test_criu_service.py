"""What is said to `criu swrk`: protocol buffers, and the options that stand in a file."""

from __future__ import annotations

import pytest

from pyrunc import criu_service


@pytest.mark.parametrize(
    ("fields", "encoded"),
    [
        ({1: 1}, "0801"),
        ({1: True, 12: False}, "0801 6000"),
        ({1: 300}, "08ac02"),
        ({10: b"dump.log"}, "5208 64756d702e6c6f67"),
        ({50: True, 51: b"x"}, "900301 9a0301 78"),
    ],
)
def test_messages(fields: dict[int, int | bytes], encoded: str) -> None:
    message = criu_service._message(fields)
    assert message == bytes.fromhex(encoded)
    assert criu_service._fields(message) == fields


def test_options_of_the_command_line() -> None:
    line = [
        "--leave-running",
        "--tree",
        "5",
        "--manage-cgroups=soft",
        "--external",
        "mnt[/a b]:/x",
        "--shell-job",
    ]
    assert list(criu_service._options(line)) == [
        ("leave-running", ""),
        ("tree", "5"),
        ("manage-cgroups", "soft"),
        ("external", "mnt[/a b]:/x"),
        ("shell-job", ""),
    ]
