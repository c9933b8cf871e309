"""Every code with which the exchange can answer an order, and what it makes of the plan: a code, or a question."""

import json
import os
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from microservices.apply_layer import metrics
from microservices.apply_layer.endings import Ending
from microservices.apply_layer.outcome import RETRYABLE_CODES, Unknown, of_error
from microservices.contracts.plan import Decision
from microservices.exchange import ExchangeError
from microservices.exchange.answers import Answer, body_or_error
from microservices.paper_exchange.errors import STATUSES, TEXTS

_ROOT = Path(__file__).parents[3]
FOLDER = Path(os.environ.get("QUANTUM_RECORDED_DATA") or _ROOT.parent / "shared" / "data") / "errors"
POST = "POST /fapi/v1/order"
ASKED, RETRY, FINAL = "asked for", "retryable", "final"

# https://developers.binance.com/docs/derivatives/usds-margined-futures/error-code: what a new order can be answered.
TABLE: dict[int, str] = {
    -1000: ASKED, -1006: ASKED, -1007: ASKED,  # "execution status unknown", and internal errors
    -1016: ASKED,  # 503 "no longer available": none of the two texts of 503 that promise that nothing was done
    -4116: ASKED,  # an open order has our name: ours
    -1003: RETRY, -1008: RETRY, -1015: RETRY,  # limits and load
    -1021: RETRY, -5028: RETRY,  # clocks, or a slow way
    -1001: RETRY,  # as 503 with the one text that promises that nothing was done
    -2020: RETRY, -4131: RETRY,  # an empty book, a price too far away
    -1002: FINAL, -1013: FINAL, -1020: FINAL, -1022: FINAL, -1100: FINAL, -1101: FINAL, -1102: FINAL, -1103: FINAL,
    -1104: FINAL, -1105: FINAL, -1106: FINAL, -1111: FINAL, -1115: FINAL, -1116: FINAL, -1117: FINAL, -1118: FINAL,
    -1121: FINAL, -1130: FINAL, -1136: FINAL,
    -2010: FINAL, -2014: FINAL, -2015: FINAL, -2018: FINAL, -2019: FINAL, -2021: FINAL, -2022: FINAL, -2023: FINAL,
    -2024: FINAL, -2025: FINAL, -2026: FINAL, -2027: FINAL, -2028: FINAL,
    -4000: FINAL, -4001: FINAL, -4002: FINAL, -4003: FINAL, -4004: FINAL, -4005: FINAL, -4014: FINAL, -4015: FINAL,
    -4023: FINAL, -4024: FINAL, -4025: FINAL, -4026: FINAL, -4061: FINAL, -4062: FINAL, -4087: FINAL, -4088: FINAL,
    -4118: FINAL, -4140: FINAL, -4141: FINAL, -4164: FINAL, -4192: FINAL, -4400: FINAL, -4401: FINAL, -5021: FINAL,
    -5022: FINAL, -5041: FINAL,
}  # fmt: skip

RECORDED: dict[tuple[int, int | None], str] = {
    (502, None): ASKED, (403, None): FINAL, (451, 0): FINAL, (429, -1003): RETRY, (400, -4061): FINAL,
    (400, -1121): FINAL, (400, -2019): FINAL, (400, -1106): FINAL, (400, -2015): FINAL, (400, -1111): FINAL,
    (400, -2020): RETRY, (400, -2022): FINAL, (400, -2023): FINAL, (200, -1102): ASKED,
}  # fmt: skip
"""What the recorded answers would mean had they been an order's, by status and code."""


def outcome_of(status: int, body: bytes) -> Ending | Unknown:
    """Judge an answer as the worker does."""
    with pytest.raises(ExchangeError) as caught:
        body_or_error(POST, Answer(status, {}, body), now_s=1_800_000_000.0)
    return of_error(caught.value)


def kind_of(outcome: Ending | Unknown) -> str:
    """Name what becomes of the plan; whatever ends it is an error with one plain code, and nothing was filled."""
    if isinstance(outcome, Unknown):
        assert outcome.why
        return ASKED
    assert (outcome.decision, outcome.executed, outcome.quantity) == (Decision.ERROR, False, Decimal(0))
    assert re.fullmatch(r"exchange_error_[0-9]+|order_rejected|order_not_placed", outcome.error), outcome
    return RETRY if outcome.retryable else FINAL


@pytest.mark.parametrize(("code", "kind"), TABLE.items())
def test_every_code_of_the_exchange_has_one_meaning(code: int, kind: str) -> None:
    """It is asked for, or ends the plan under its own digits, retryable where it passes by itself."""
    body = json.dumps({"code": code, "msg": TEXTS.get(code, "text")}).encode()
    outcome = outcome_of(STATUSES.get(code, 400), body)
    assert kind_of(outcome) == kind
    if isinstance(outcome, Ending):
        assert outcome.error == f"exchange_error_{-code}"
        assert metrics._EXCHANGE_ERROR.fullmatch(outcome.error), "a label of its own"


def test_the_table_has_every_code_that_decides_something() -> None:
    """What the code, or the paper exchange, knows of orders stands in the table."""
    of_orders = set(TEXTS) - {-1023, -1120, -2011, -2013}  # candles, cancelling, queries
    assert RETRYABLE_CODES | of_orders <= TABLE.keys()
    assert {code for code, kind in TABLE.items() if kind == RETRY} == RETRYABLE_CODES


@pytest.mark.parametrize("code", [-9_999, -99_999, 0, 7])
def test_a_code_that_nobody_has_seen_yet_is_final(code: int) -> None:
    """4xx is a refusal whatever its code."""
    outcome = outcome_of(400, json.dumps({"code": code, "msg": "new"}).encode())
    assert kind_of(outcome) == FINAL
    assert isinstance(outcome, Ending)
    assert outcome.error == f"exchange_error_{abs(code)}"


def recorded() -> list[Any]:
    """Read the recorded refusals, or give one that skips."""
    if not FOLDER.is_dir():
        return [pytest.param({}, marks=pytest.mark.skip(reason=f"recorded data are not at hand: {FOLDER}"))]
    found = json.loads((FOLDER / "binance_error_responses.json").read_text())["responses"]
    found.append({"http_status": 200, "body": (FOLDER / "error_body_saved_as_data.json").read_text(), "src": "saved"})
    return [pytest.param(record, id=Path(record["src"]).name) for record in found if record["body"] or "code" in record]


@pytest.mark.parametrize("record", recorded())
def test_a_recorded_refusal_has_the_meaning_it_should(record: dict[str, Any]) -> None:
    """As other people's exchanges said it, word for word."""
    body = record["body"] or json.dumps({"code": record["code"], "msg": record["msg"]})
    try:
        code = json.loads(body)["code"]
    except ValueError:
        code = None
    status = record["http_status"] or 400
    assert kind_of(outcome_of(status, body.encode())) == RECORDED[status, code]
