"""What became of an order, from every kind of answer and silence."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microservices.apply_layer.outcome import (
    ABSENCE_FINAL_AFTER_MS,
    ABSENCES_APART_MS,
    Inquiry,
    Unknown,
    of_error,
    of_order,
)
from microservices.contracts.plan import Decision
from microservices.exchange import BadAnswer, ExchangeError, Rejected, ServerFault, Throttled, Unreachable
from microservices.exchange.models import FINAL_STATUSES
from tests.unit.apply_layer.plans import an_order

POST = "POST /fapi/v1/order"
SENT_MS = 1_800_000_000_000


def test_a_filled_order_is_executed_with_what_was_filled() -> None:
    """Quantity and price are the fill's."""
    ending = of_order(an_order())
    assert not isinstance(ending, Unknown)
    assert (ending.decision, ending.executed, ending.error) == (Decision.EXECUTE, True, "")
    assert (ending.quantity, ending.price, ending.order_id) == (Decimal("0.010"), Decimal("50000.1"), "7")


@pytest.mark.parametrize("status", sorted(FINAL_STATUSES))
def test_what_was_filled_counts_whatever_the_status_says(status: str) -> None:
    """An EXPIRED market order may have filled in part: that part is the position's (I-40)."""
    part = of_order(an_order(status=status, executed_qty=Decimal("0.004")))
    assert not isinstance(part, Unknown)
    assert (part.executed, part.quantity) == (True, Decimal("0.004"))
    nothing = of_order(an_order(status=status, executed_qty=Decimal(0), avg_price=Decimal(0)))
    assert not isinstance(nothing, Unknown)
    assert (nothing.decision, nothing.error, nothing.executed) == (Decision.ERROR, "order_rejected", False)
    assert (nothing.retryable, nothing.order_id) == (True, "7")


@pytest.mark.parametrize("status", ["NEW", "PARTIALLY_FILLED", "PENDING_SOMETHING"])
def test_an_order_that_can_still_fill_is_not_judged(status: str) -> None:
    """I-25: a fill that is read before it happened would be a wrong ledger."""
    assert isinstance(of_order(an_order(status=status, executed_qty=Decimal("0.004"))), Unknown)


@pytest.mark.parametrize(
    "error",
    [
        Unreachable(POST, "no answer within 10 s", sent=True),
        BadAnswer(POST, "HTTP 200, body truncated"),
        ServerFault(POST, 503, -1000, "Unknown error, please check your request or try again later."),
        ServerFault(POST, 503, None, "Unknown error, please check your request or try again later."),
        ServerFault(POST, 502, None, "an HTML page"),
        ServerFault(POST, 400, -1006, "An unexpected response was received from the message bus."),
        ServerFault(POST, 408, -1007, "Timeout waiting for response from backend server."),
        Rejected(POST, 400, -4116, "ClientOrderId is duplicated."),
    ],
)
def test_a_silence_never_ends_a_plan(error: ExchangeError) -> None:
    """I-43: a timeout may hide a live order, so it is asked for."""
    assert isinstance(of_error(error), Unknown)


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        (Rejected(POST, 400, -2019, "Margin is insufficient."), "exchange_error_2019", False),
        (Rejected(POST, 400, -2022, "ReduceOnly Order is rejected."), "exchange_error_2022", False),
        (Rejected(POST, 400, -1111, "Precision is over the maximum."), "exchange_error_1111", False),
        (Rejected(POST, 400, -1021, "Timestamp outside of the recvWindow."), "exchange_error_1021", True),
        (Rejected(POST, 400, -5028, "Timestamp outside of the ME recvWindow."), "exchange_error_5028", True),
        (Rejected(POST, 400, -2020, "Unable to fill."), "exchange_error_2020", True),
        (Rejected(POST, 400, -4131, "PERCENT_PRICE"), "exchange_error_4131", True),
        (Rejected(POST, 451, 0, "restricted location"), "exchange_error_0", False),
        (Rejected(POST, 403, None, "an HTML page"), "order_rejected", False),
        (Throttled(POST, 429, 3.0, -1003, "Too many requests"), "exchange_error_1003", True),
        (Throttled(POST, 418, 60.0, None, ""), "order_not_placed", True),
        (ServerFault(POST, 503, -1008, "Request throttled by system-level protection."), "exchange_error_1008", True),
        (ServerFault(POST, 503, None, "Service Unavailable."), "order_not_placed", True),
        (ServerFault(POST, 503, -1001, "Service Unavailable."), "exchange_error_1001", True),
        (
            ServerFault(POST, 503, -1001, "Internal error; unable to process your request. Please try again."),
            "exchange_error_1001",
            True,
        ),
        (Unreachable(POST, "connection failed (NewConnectionError)", sent=False), "order_not_placed", True),
    ],
)
def test_a_certain_no_ends_the_plan_with_its_code(error: ExchangeError, code: str, retryable: bool) -> None:
    """Only what the exchange, or the lack of a connection, proves."""
    ending = of_error(error)
    assert not isinstance(ending, Unknown)
    assert (ending.decision, ending.error, ending.retryable) == (Decision.ERROR, code, retryable)
    assert not ending.executed


@given(
    st.integers(400, 599),
    st.one_of(st.none(), st.integers(-9_999, 0)),
    st.sampled_from(["", "Service Unavailable.", "Unknown error", json.dumps({"code": -1})]),
)
def test_no_answer_is_ever_taken_for_a_fill(status: int, code: int | None, msg: str) -> None:
    """I-40: an error is an error, or unknown, and never `executed`."""
    for error in (
        Rejected(POST, status, code, msg),
        ServerFault(POST, status, code, msg),
        Throttled(POST, status, 1, code),
    ):
        outcome = of_error(error)
        assert isinstance(outcome, Unknown) or not outcome.executed
        assert isinstance(outcome, Unknown) or error.not_executed


def test_an_absence_is_final_when_two_late_questions_find_it() -> None:
    """2 s apart, both later than the order's receive window and 10 s more."""
    inquiry = Inquiry(SENT_MS)
    late_ms = SENT_MS + ABSENCE_FINAL_AFTER_MS
    assert isinstance(inquiry.absent(SENT_MS + 500), Unknown)
    assert isinstance(inquiry.absent(late_ms), Unknown)
    assert inquiry.decisive_at_ms() == late_ms + 1
    assert isinstance(inquiry.absent(late_ms + 1), Unknown)
    assert inquiry.decisive_at_ms() == late_ms + 1 + ABSENCES_APART_MS
    assert isinstance(inquiry.absent(late_ms + ABSENCES_APART_MS), Unknown)
    final = inquiry.absent(late_ms + 1 + ABSENCES_APART_MS)
    assert not isinstance(final, Unknown)
    assert (final.error, final.retryable) == ("order_not_placed", True)


def test_an_order_that_shows_up_between_absences_starts_them_anew() -> None:
    """A query that finds it, and a later one that does not, are a contradiction and no proof."""
    inquiry = Inquiry(SENT_MS)
    late_ms = SENT_MS + ABSENCE_FINAL_AFTER_MS + 1
    assert isinstance(inquiry.absent(late_ms), Unknown)
    assert isinstance(inquiry.found(an_order(status="NEW", update_time=SENT_MS), late_ms + 5), Unknown)
    assert isinstance(inquiry.absent(late_ms + ABSENCES_APART_MS), Unknown)
    assert not isinstance(inquiry.absent(late_ms + 2 * ABSENCES_APART_MS), Unknown)


def test_an_older_order_of_the_same_name_is_another_order() -> None:
    """A plan id that is used again after days: the exchange still knows the first one's order, and ours is absent."""
    late_ms = SENT_MS + ABSENCE_FINAL_AFTER_MS + 1
    old = an_order(update_time=SENT_MS - 60_001)
    inquiry = Inquiry(SENT_MS)
    assert isinstance(inquiry.found(old, SENT_MS + 100), Unknown)
    assert isinstance(inquiry.found(old, late_ms), Unknown)
    ending = inquiry.found(old, late_ms + ABSENCES_APART_MS)
    assert not isinstance(ending, Unknown)
    assert ending.error == "order_not_placed"
    ours = Inquiry(SENT_MS).found(an_order(update_time=SENT_MS - 2_000), SENT_MS + 100)
    assert not isinstance(ours, Unknown)
    assert ours.executed


@given(st.lists(st.integers(0, 30_000), min_size=1, max_size=20))
def test_absences_are_never_final_too_early(offsets_ms: list[int]) -> None:
    """Whenever it is asked: final needs a question after the window and another 2 s later."""
    inquiry = Inquiry(SENT_MS)
    late: list[int] = []
    for offset_ms in sorted(offsets_ms):
        if offset_ms > ABSENCE_FINAL_AFTER_MS:
            late.append(offset_ms)
        outcome = inquiry.absent(SENT_MS + offset_ms)
        if not isinstance(outcome, Unknown):
            assert late
            assert offset_ms - late[0] >= ABSENCES_APART_MS
