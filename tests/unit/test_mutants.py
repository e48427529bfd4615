"""`make mutation` breaks what is there: a mutant whose place has changed would break nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutation.c_mutants import C_MUTANTS
from tests.mutation.mutants import MUTANTS, Mutant

PACKAGE = Path(__file__).parents[2] / "pyrunc"


@pytest.mark.parametrize("mutant", (*MUTANTS, *C_MUTANTS), ids=lambda mutant: mutant.name)
def test_a_mutant_fits(mutant: Mutant) -> None:
    assert (PACKAGE / mutant.file).read_text().count(mutant.old) == 1
    assert (PACKAGE.parent / "tests" / mutant.tests.partition("::")[0]).exists()
