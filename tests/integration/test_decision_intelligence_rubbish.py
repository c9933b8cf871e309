"""Whatever bytes stand in the stream, in any field: each entry ends as a count or as a dead letter, and none stays."""

import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from microservices.contracts import decision
from tests.support.clock import FakeClock
from tests.support.counting import GROUP, STREAM, counted, service, status
from tests.support.scale import is_scaled, scaled

KNOWN = [b"decision", b"executed", b"error", b"reason", b"details", b"symbol", b"timestamp", b"plan_id"]
TELLING = [b"SKIP", b"execute", b"True", b"false", b"duplicate_plan:x", b"\xff\xfe", b"{", b"NaN", b"1e400", b"0", b" "]
JSON = st.dictionaries(
    st.sampled_from([name.decode() for name in KNOWN]), st.text(max_size=12) | st.integers() | st.none(), max_size=4
)
VALUES = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(TELLING),
    st.text(max_size=30).map(lambda text: text.encode("utf-8", "surrogatepass")),
    JSON.map(lambda members: repr(members).replace("'", '"').replace("None", "null").encode("utf-8", "replace")),
    st.integers(0, 2**70).map(lambda number: b"%d" % number),
    st.just(b"\x00" * 5_000),
)
PAIRS = st.lists(st.tuples(st.sampled_from(KNOWN) | st.binary(max_size=8), VALUES), min_size=1, max_size=10)


@pytest.mark.soak
@settings(
    max_examples=scaled(40),
    deadline=None,
    derandomize=not is_scaled(),
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(entries=st.lists(PAIRS, min_size=1, max_size=25), by_symbol=st.booleans())
def test_any_bytes_in_any_field_end_as_a_count_or_a_dead_letter(
    redis_client: Redis, entries: list[list[tuple[bytes, bytes]]], by_symbol: bool
) -> None:
    """Added as they are, names twice included; no tick raises, nothing stays pending, every entry has its one fate."""
    redis_client.flushall()
    for pairs in entries:
        command: Any = redis_client.execute_command
        command("XADD", STREAM, "*", *(part for pair in pairs for part in pair))
    clock = FakeClock(now=time.time())
    instance = service(
        redis_client, clock, p35_max_reasons=5, p35_max_symbol_reasons=5, enable_symbol_breakdown=by_symbol
    )
    for _ in range(2):
        instance.consume()
        instance.snapshot()
    row = status(redis_client)
    assert row.processed_total + row.dead_letter_total == len(entries)
    assert sum(counted(redis_client).decisions.values()) == row.processed_total
    assert sum(counted(redis_client).reasons.values()) == row.processed_total
    assert redis_client.xlen(decision.DEAD_LETTER_STREAM) == row.dead_letter_total
    assert redis_client.xpending(STREAM, GROUP)["pending"] == 0
