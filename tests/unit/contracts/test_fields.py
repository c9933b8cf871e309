"""Single values: what is read, what is refused, and that writing and reading are each other's inverse."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microservices.contracts import fields
from microservices.contracts.fields import Unreadable

amounts = st.decimals(min_value=Decimal("-1e15"), max_value=Decimal("1e15"), allow_nan=False, places=12)


@pytest.mark.parametrize(
    "rubbish", ["", " 1", "1 ", "1e5", "NaN", "Infinity", "-0.1", "+1", ".5", "1.", "0x1", "1_0", "１", "1\n"]
)
def test_a_quantity_is_plain_digits_or_nothing(rubbish: str) -> None:
    """Anything Python's Decimal would take but the schema does not is refused."""
    with pytest.raises(Unreadable):
        fields.unsigned_decimal(rubbish, "qty")


@given(amounts)
def test_a_written_amount_reads_back_as_itself(amount: Decimal) -> None:
    """plain() and signed_decimal() are inverse, and no exponent, trailing zero or minus zero is ever written."""
    written = fields.plain(amount)
    assert fields.signed_decimal(written, "amount") == amount
    assert "E" not in written
    assert written != "-0"
    assert not (("." in written) and written.endswith(("0", ".")))


@pytest.mark.parametrize(
    ("amount", "written"), [("0.0000001", "0.0000001"), ("1E+3", "1000"), ("-0", "0"), ("1.500", "1.5")]
)
def test_plain_writes_no_exponents(amount: str, written: str) -> None:
    """Formatting by hand-picked examples, exponents included."""
    assert fields.plain(Decimal(amount)) == written


@pytest.mark.parametrize("word", ["True", "TRUE", "1", "yes", "", "truee", b"true"[:2].decode()])
def test_only_true_and_false_are_booleans(word: str) -> None:
    """A boolean in other letters is not guessed at."""
    with pytest.raises(Unreadable):
        fields.boolean(word, "flag")


@given(st.binary(max_size=60))
def test_any_bytes_are_text_or_unreadable(raw: bytes) -> None:
    """No byte string raises anything but Unreadable, and the message stays on one line."""
    try:
        assert fields.text(raw, "field").encode() == raw
    except Unreadable as fault:
        assert "\n" not in str(fault)


@pytest.mark.parametrize(("older", "newer"), [("9-0", "10-0"), ("5-9", "5-10")])
def test_stream_ids_compare_as_numbers(older: str, newer: str) -> None:
    """As text 10-0 would come before 9-0."""
    assert fields.stream_id(older, "id") < fields.stream_id(newer, "id")


@pytest.mark.parametrize("rubbish", ["", "5", "5-", "-5", "a-b", "5-0-1", "٣-0", "5 -0", "9" * 5_000 + "-0"])
def test_what_is_no_stream_id_is_refused(rubbish: str) -> None:
    """Half an id is not completed with a guess."""
    with pytest.raises(Unreadable):
        fields.stream_id(rubbish, "id")
