"""The index by minute: every plan id and symbol is found where its result stands."""

from hypothesis import given
from hypothesis import strategies as st

from microservices.contracts import decision
from microservices.decision_intelligence.index import MARK_BYTES, index_commands, mark
from microservices.runtime import Row

MINUTE = 29_500_000


def row(minute: int, plan_id: bytes, symbol: bytes = b"BTCUSDT") -> Row:
    """A result as the apply layer writes it, its id in that minute."""
    return b"%d-0" % (minute * 60_000 + 59_999), [b"plan_id", plan_id, b"symbol", symbol, b"decision", b"SKIP"]


def written(rows: list[Row]) -> dict[str, bytes]:
    """What the commands write, by key; each is given its life."""
    strings: dict[str, bytes] = {}
    living = set()
    for name, key, what in index_commands(rows):
        if name == "APPEND" and isinstance(what, bytes):
            strings[str(key)] = strings.get(str(key), b"") + what
        else:
            assert (name, what) == ("EXPIRE", decision.INDEX_TTL_S)
            living.add(key)
    assert living == strings.keys()
    return strings


@given(st.lists(st.tuples(st.integers(0, 5), st.binary(min_size=1, max_size=20)), max_size=40))
def test_every_plan_is_noted_in_the_minute_of_its_id(plans: list[tuple[int, bytes]]) -> None:
    """In its own minute, and not in another; a string holds whole marks only."""
    rows = [row(MINUTE + minute, plan_id) for minute, plan_id in sorted(plans)]
    strings = written(rows)
    for minute, plan_id in plans:
        assert mark(plan_id) in strings[decision.index_key(MINUTE + minute)]
    for minute in range(6):
        named = [plan_id for each, plan_id in plans if each == minute]
        expected = MARK_BYTES * (len(named) + 1) if named else 0
        assert len(strings.get(decision.index_key(MINUTE + minute), b"")) == expected


def test_a_batch_names_each_symbol_once_and_in_capitals() -> None:
    """A thousand results of one symbol add one mark for it."""
    rows = [row(MINUTE, b"plan-%d" % number, b"btcusdt") for number in range(100)]
    [blob] = written(rows).values()
    assert len(blob) == MARK_BYTES * 101
    assert blob.count(mark(b"BTCUSDT")) == 1


def test_fields_may_stand_anywhere_or_be_missing() -> None:
    """Other producers order them otherwise; an entry without a body or without a plan adds nothing."""
    at = b"%d-0" % (MINUTE * 60_000)
    rows: list[Row] = [(at, None), (at, [b"x", b"1"]), (at, [b"symbol", b"S", b"x", b"1", b"plan_id", b"p"])]
    assert written(rows) == {decision.index_key(MINUTE): mark(b"p") + mark(b"S")}
    assert written(rows[:2]) == {}
