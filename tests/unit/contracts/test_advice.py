"""No reason code without a word on what to do about it."""

import re
from pathlib import Path

import pytest

from microservices.contracts.advice import ADVICE
from microservices.contracts.reason import Reason

ROOT = Path(__file__).parents[3]


def test_every_reason_has_its_advice() -> None:
    """Whoever adds a reason says what an operator does about it; a reason that is gone leaves none behind."""
    assert set(ADVICE) == set(Reason)


@pytest.mark.parametrize("reason", Reason)
def test_an_advice_is_a_sentence_that_names_scripts_that_exist(reason: Reason) -> None:
    """And fits into a cell of a table."""
    advice = ADVICE[reason]
    assert advice.endswith(".")
    assert "|" not in advice
    assert "\n" not in advice
    assert [script for script in re.findall(r"ops/\w+\.sh", advice) if not (ROOT / script).exists()] == []
