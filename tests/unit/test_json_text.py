"""JSON text without the json module says what the json module says."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrunc.cli import json_text
from pyrunc.state_json import dump

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_compact(value: object) -> None:
    assert json_text.dump(value) == json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    assert dump(value) == json.dumps(value, separators=(",", ":"))


@given(VALUES)
def test_indented(value: object) -> None:
    assert json_text.dump(value, "  ") == json.dumps(value, indent=2, ensure_ascii=False)


def test_bytes_that_were_no_text_become_escapes() -> None:
    assert json_text.dump({"name": "\udcff"}) == '{"name":"\\udcff"}'


@pytest.mark.parametrize("value", [{1, 2}, object(), b"bytes"])
def test_what_json_has_not(value: object) -> None:
    with pytest.raises(TypeError, match="not a JSON value"):
        json_text.dump([value])
