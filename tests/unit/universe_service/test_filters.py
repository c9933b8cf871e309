"""Which answers become a list, which symbols are in it, and which sentence refuses the others."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microservices.universe_service.filters import AnswerRejected, Selection, first_of, select
from tests.support.exchange_info import answer, entry, filters, listing, name

PATTERN = re.compile(r"^[A-Z0-9]{3,20}USDT$")
NOW = 1_800_000_000


def read(body: bytes, *, max_symbols: int = 800, pattern: re.Pattern[str] = PATTERN) -> Selection:
    """Select with the default settings."""
    return select(body, pattern=pattern, max_symbols=max_symbols, asof_epoch=NOW)


def refusal(body: bytes, **settings: Any) -> str:
    """Give the sentence that refuses this answer."""
    with pytest.raises(AnswerRejected) as refused:
        read(body, **settings)
    return str(refused.value)


def test_a_traded_perpetual_is_in_the_list_with_its_market_rules() -> None:
    """Step and quantities are those of market orders, not of limit orders."""
    selection = read(answer([entry("BTCUSDT")]))
    rules = selection.instruments["BTCUSDT"]
    assert selection.symbols == ("BTCUSDT",)
    assert (rules.tick_size, rules.step_size, rules.min_qty, rules.max_qty) == ("0.10", "0.001", "0.001", "120")
    assert (rules.min_notional, rules.onboard_epoch, rules.delivery_epoch) == ("5", 1569398400, 4133404800)
    assert (rules.status, rules.seen_epoch) == ("TRADING", NOW)


def test_the_list_is_sorted() -> None:
    """The schema says sorted, whatever order the exchange answers in."""
    assert read(answer([entry("XRPUSDT"), entry("BTCUSDT"), entry("1INCHUSDT")])).symbols == (
        "1INCHUSDT",
        "BTCUSDT",
        "XRPUSDT",
    )


@pytest.mark.parametrize("status", ["PENDING_TRADING", "SETTLING", "PRE_SETTLE", "DELIVERING", "CLOSE", ""])
def test_a_perpetual_that_is_not_traded_is_an_instrument_but_not_in_the_list(status: str) -> None:
    """A position in it can still be closed; a new one cannot be opened."""
    selection = read(answer([entry("BTCUSDT"), entry("LUNAUSDT", status=status)]))
    assert selection.symbols == ("BTCUSDT",)
    assert selection.instruments["LUNAUSDT"].status == status
    assert selection.dropped == 0


@pytest.mark.parametrize("contract", ["", "CURRENT_QUARTER", "CURRENT_QUARTER DELIVERING", "TRADIFI_PERPETUAL"])
def test_another_contract_is_neither_listed_nor_an_instrument(contract: str) -> None:
    """PERPETUAL is matched whole."""
    selection = read(answer([entry("BTCUSDT"), entry("BTCUSDT_261225", contractType=contract)]))
    assert list(selection.instruments) == ["BTCUSDT"]


@pytest.mark.parametrize("symbol", ["OPUSDT", "4USDT", "IDOL", "BTCUSDC", "币安人生USDT", "BTCUSDT\n", "btcusdt"])
def test_a_symbol_outside_the_pattern_is_dropped_counted_and_named(symbol: str) -> None:
    """The default pattern drops real perpetuals; an operator must see which."""
    selection = read(answer([entry("ETHUSDT"), entry(symbol)]))
    assert selection.symbols == ("ETHUSDT",)
    assert (selection.outside_pattern, selection.dropped) == ((symbol,), 1)
    assert symbol in selection.instruments


def test_a_symbol_that_is_not_ascii_is_dropped_whatever_the_pattern_says() -> None:
    """A pattern that matches every letter does not let other scripts into the list."""
    selection = read(answer([entry("BTCUSDT"), entry("龙虾USDT")]), pattern=re.compile(r"\w+"))
    assert (selection.symbols, selection.outside_pattern) == (("BTCUSDT",), ("龙虾USDT",))


def test_the_pattern_is_matched_whole() -> None:
    """A pattern without anchors does not match a part."""
    body = answer([entry("BTCUSDT"), entry("BTCUSDTX")])
    assert read(body, pattern=re.compile("BTCUSDT")).symbols == ("BTCUSDT",)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"<html>",
        b"{'symbols': []}",
        b"\xff\xfe{}",
        b'{"symbols":' + b"[" * 100_000,
        answer([entry("BTCUSDT")])[:-9],
        b"NaN",
    ],
)
def test_what_is_not_json_is_refused_as_that(body: bytes) -> None:
    """HTML, Python's own notation, a cut answer, and nesting without end."""
    assert refusal(body).startswith("not JSON: ")


@pytest.mark.parametrize("body", [b"null", b"[]", b"{}", b'"x"', b'{"symbols": {}}', b'{"symbols": null}', b"1"])
def test_json_of_another_shape_is_refused_as_that(body: bytes) -> None:
    """Only an object with a symbols list is an answer; the sentence quotes how it begins."""
    assert refusal(body).startswith("not an object with a symbols list: ")
    assert body[:20].decode() in refusal(body)


def test_an_empty_list_leaves_no_symbol() -> None:
    """Nothing is not a universe."""
    assert refusal(answer([])).startswith("no symbol left: 0 of the answer's perpetuals are TRADING")


def test_a_pattern_that_fits_nothing_is_named() -> None:
    """An operator who mistyped the pattern finds it in the error."""
    said = refusal(answer([entry("BTCUSDT")]), pattern=re.compile("USDT"))
    assert said == "no symbol left: 1 of the answer's perpetuals are TRADING, none fits UNIVERSE_SYMBOL_REGEX=USDT"


def test_a_spot_answer_is_refused() -> None:
    """Spot has symbols with filters, but no contractType."""
    spot = [entry("BTCUSDT", contractType=None), entry("ETHUSDT", contractType=None)]
    assert refusal(answer(spot, futuresType="U_MARGINED")).startswith("2 of 2 entries without usable fields or filters")


def test_a_coin_margined_answer_is_refused_whatever_the_pattern_says() -> None:
    """COIN-M says contractStatus where USDⓈ-M says status."""
    coin_m = [entry("BTCUSD_PERP", status=None, contractStatus="TRADING")]
    assert "entries without usable fields" in refusal(answer(coin_m), pattern=re.compile(".*"))


def test_an_answer_that_names_another_futures_type_is_refused() -> None:
    """An answer that says itself that it is another market's is believed."""
    said = refusal(answer([entry("BTCUSDT")], futuresType="C_MARGINED"))
    assert said == "another market's answer: futuresType is 'C_MARGINED', expected U_MARGINED"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"filters": None}, "filters"),
        ({"filters": []}, "0 MARKET_LOT_SIZE filters"),
        ({"filters": filters(MARKET_LOT_SIZE=None)}, "0 MARKET_LOT_SIZE filters"),
        ({"filters": filters(PRICE_FILTER=None)}, "0 PRICE_FILTER filters"),
        ({"filters": filters(MIN_NOTIONAL=None)}, "0 MIN_NOTIONAL filters"),
        ({"filters": [*filters(), *filters()]}, "2 MARKET_LOT_SIZE filters"),
        ({"filters": filters(MARKET_LOT_SIZE={"stepSize": "0"})}, "step_size"),
        ({"filters": filters(MARKET_LOT_SIZE={"stepSize": "1e-3"})}, "MARKET_LOT_SIZE"),
        ({"filters": filters(MARKET_LOT_SIZE={"stepSize": "NaN"})}, "MARKET_LOT_SIZE"),
        ({"filters": filters(MARKET_LOT_SIZE={"minQty": "-1"})}, "MARKET_LOT_SIZE"),
        ({"filters": filters(MARKET_LOT_SIZE={"maxQty": "0.0001"})}, "maxQty"),
        ({"filters": filters(MARKET_LOT_SIZE={"maxQty": "Infinity"})}, "max_qty"),
        ({"filters": filters(PRICE_FILTER={"tickSize": "0"})}, "tick_size"),
        ({"filters": filters(MIN_NOTIONAL={"notional": ""})}, "min_notional"),
        ({"onboardDate": None}, "onboardDate"),
        ({"onboardDate": "soon"}, "onboardDate"),
        ({"deliveryDate": None}, "deliveryDate"),
    ],
)
def test_an_entry_without_usable_rules_is_dropped_and_named(change: dict[str, Any], why: str) -> None:
    """One in fifty is left out, with the reason; nothing is made up for it."""
    healthy = [entry(f"{name(number)}USDT") for number in range(49)]
    selection = read(answer([*healthy, entry("BADUSDT", **change)]))
    assert "BADUSDT" not in selection.symbols
    assert "BADUSDT" not in selection.instruments
    assert (len(selection.symbols), selection.dropped) == (49, 1)
    assert selection.unusable[0].startswith("BADUSDT: ")
    assert why in selection.unusable[0]


def test_a_minimum_quantity_of_zero_is_one_step() -> None:
    """The testnet lists such perpetuals; the smallest order that exists is a step."""
    rules = read(answer([entry("BTCUSDT", filters=filters(MARKET_LOT_SIZE={"minQty": "0"}))])).instruments["BTCUSDT"]
    assert rules.min_qty == "0.001"


@pytest.mark.parametrize("broken", [5, 6])
def test_at_most_five_percent_of_the_kept_entries_may_be_unusable(broken: int) -> None:
    """Five of a hundred are dropped; six refuse the answer, with both counts and examples."""
    body = answer([entry(f"{name(number)}USDT", filters=[] if number < broken else filters()) for number in range(100)])
    if broken == 5:
        assert len(read(body).symbols) == 95
    else:
        assert refusal(body).startswith(
            "6 of 100 entries without usable fields or filters, at most 5% are dropped: AAAA"
        )


def test_rules_outside_the_list_do_not_refuse_the_answer() -> None:
    """Only entries that would have been listed count against it; the others are named all the same."""
    broken = [entry("4USDT", filters=[]), entry("LUNAUSDT", status="SETTLING", filters=[])]
    selection = read(answer([entry("BTCUSDT"), *broken]))
    assert (selection.symbols, selection.dropped) == (("BTCUSDT",), 1)
    assert [line.split(":")[0] for line in selection.unusable] == ["4USDT", "LUNAUSDT"]


@pytest.mark.parametrize("rubbish", [None, 1, "BTCUSDT", [], {}, {"symbol": 1}, {"symbol": "X", "status": "TRADING"}])
def test_entries_that_cannot_be_told_apart_count_against_the_answer(rubbish: object) -> None:
    """One in forty is named by its place; one in two refuses the answer."""
    healthy = [entry(f"{name(number)}USDT") for number in range(39)]
    assert read(answer([rubbish, *healthy])).unusable[0].startswith("entry 0: ")
    assert refusal(answer([rubbish, entry("BTCUSDT")])).startswith("1 of 2 entries")


def test_a_symbol_that_appears_twice_is_not_believed() -> None:
    """Two entries of one name contradict each other, whichever comes last."""
    healthy = [entry(f"{name(number)}USDT") for number in range(40)]
    selection = read(answer([entry("BTCUSDT"), *healthy, entry("BTCUSDT", status="SETTLING")]))
    assert "BTCUSDT" not in selection.symbols
    assert "BTCUSDT" not in selection.instruments
    assert selection.unusable == ("BTCUSDT: is in the answer 2 times",)


def test_more_symbols_than_the_maximum_are_refused_and_none_is_cut_off() -> None:
    """A list that was cut silently would look whole (failures.md, I-20)."""
    assert len(read(listing(20), max_symbols=20).symbols) == 20
    assert refusal(listing(21), max_symbols=20) == "21 symbols are more than UNIVERSE_MAX=20; nothing is cut off"


def test_a_message_names_a_few_and_counts_the_rest() -> None:
    """Names from the answer are bounded and cannot break the line."""
    assert first_of(["A", "B", "C"], 2) == "A, B and 1 more"
    assert first_of(["x\ny" + "z" * 500]) == "x\\ny" + "z" * 77 + "…"


@given(st.binary(max_size=200))
def test_any_bytes_are_a_selection_or_refused(body: bytes) -> None:
    """Nothing an exchange, a proxy or an attacker answers raises anything else."""
    with pytest.raises(AnswerRejected):
        read(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
FIELDS = ["symbol", "contractType", "status", "filters", "onboardDate", "deliveryDate"]


@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), JSON) | JSON, max_size=4))
def test_any_change_to_entries_leaves_a_list_of_whole_entries(changes: list[Any]) -> None:
    """Whatever stands in some entries, what is listed has rules, is sorted and fits the pattern."""
    odd = [entry("ODDUSDT") | change if isinstance(change, dict) else change for change in changes]
    body = json.dumps({"symbols": [*[entry(f"{name(number)}USDT") for number in range(80)], *odd]}).encode()
    try:
        selection = read(body)
    except AnswerRejected as refused:
        assert "without usable fields" in str(refused) or "not JSON" in str(refused)
    else:
        assert list(selection.symbols) == sorted(set(selection.symbols))
        assert all(PATTERN.fullmatch(symbol) for symbol in selection.symbols)
        assert set(selection.symbols) <= set(selection.instruments)
