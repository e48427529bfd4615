"""docs/conformance.md is what the tests say."""

from __future__ import annotations

from tests import obligations
from tests.unit.test_vocabulary import REPO, script


def test_every_obligation_has_a_test_and_every_marker_is_known() -> None:
    known = {id for entries in obligations.OBLIGATIONS.values() for id in entries}
    marked = set(script("conformance_doc").marked())
    assert marked - known == set(), "write them into tests/obligations.py"
    assert known - marked == set(), "mark the tests that show them with pytest.mark.spec"


def test_the_page_is_current() -> None:
    page = script("conformance_doc").page()
    assert (REPO / "docs" / "conformance.md").read_text() == page, "run make conformance-doc"
