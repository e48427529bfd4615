"""Whatever makes a container fail: the message names the subject, the place, the cause and the remedy."""

from __future__ import annotations

import pytest

from tests.failures import Case, cases
from tests.integration.harness import PROGRAM, Container, Runtime

pytestmark = pytest.mark.skipif(
    PROGRAM.rpartition("/")[2] in ("runc", "crun", "youki"),
    reason="the wording is pyrunc's; see docs/errors-compared.md",
)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.title)
def test_the_message_names_subject_place_cause_and_remedy(case: Case, runtime: Runtime) -> None:
    container: Container = runtime.sh("true")
    said = case.fail(container)
    for what in (case.subject, case.place, case.cause, case.remedy):
        assert what in said, f"{what!r} is not in:\n{said}"


def test_there_are_many() -> None:
    titles = [case.title for case in cases()]
    assert len(titles) == len(set(titles)) >= 60
