"""Which candles are told when: the clock, candles told wrong on the stream alone, and clients that do not read."""

from typing import Any, cast
from unittest.mock import Mock

import msgspec
import pytest

from microservices.paper_exchange.stream_connection import WAITING_MAX, Connection, Frame, PingFrame
from microservices.paper_exchange.stream_faults import StreamRules
from microservices.paper_exchange.stream_frames import Subscriptions
from microservices.paper_exchange.stream_hub import MAX_BEHIND
from tests.unit.paper_exchange.kit import Kit

BTC, ETH = "btcusdt@kline_1m", "ethusdt@kline_1m"


class Listener(Connection):
    """A connection whose messages a test reads; there is no socket behind it."""

    def __init__(self, *streams: str) -> None:
        nothing = cast("Any", None)
        subscriptions = Subscriptions(list(streams), combined=False, limit=1024)
        super().__init__(nothing, nothing, subscriptions, "/ws", 1_000.0)
        self.got: list[Any] = []

    def push(self, frame: Frame) -> None:
        """Keep a message."""
        if not isinstance(frame, PingFrame):
            self.got.append(msgspec.json.decode(frame))

    def closed(self) -> list[tuple[str, int]]:
        """Symbol and minute of each closed candle told since the last question."""
        told = [(event["s"], event["k"]["t"] // 60_000) for event in self.got if event["k"]["x"]]
        self.got.clear()
        return told


@pytest.fixture
def kit() -> Kit:
    """A venue at the beginning of a minute."""
    return Kit()


def listener(kit: Kit, *streams: str) -> Listener:
    """Listen, with the hub's clock set."""
    made = Listener(*streams)
    kit.hub.add(made)
    tick(kit)
    return made


def tick(kit: Kit, seconds: float = 0.0) -> None:
    """Let time pass, then tell what is due."""
    kit.clock.advance(seconds)
    kit.hub.tick()


def test_each_minute_is_told_once_when_it_is_over(kit: Kit) -> None:
    """Not a moment before; and after a pause of the process all that closed meanwhile, in order."""
    one, minute = listener(kit, BTC), kit.minute()
    tick(kit, 59.9)
    assert one.closed() == []
    tick(kit, 0.1)
    assert one.closed() == [("BTCUSDT", minute)]
    tick(kit, 1)
    assert one.closed() == []
    tick(kit, 180)
    assert one.closed() == [("BTCUSDT", minute + n) for n in (1, 2, 3)]
    one.ponged(kit.clock.monotonic() + 60 * MAX_BEHIND)
    tick(kit, 60 * (MAX_BEHIND + 1))
    assert one.closed() == [("BTCUSDT", kit.minute() - 1)]


def test_only_what_is_listened_to_is_told(kit: Kit) -> None:
    """Unknown symbols and names in capitals stay silent, as on the exchange."""
    one = listener(kit, BTC, "BTCUSDT@kline_1m", "none@kline_1m", "ethusdt@kline_5m")
    other = listener(kit, ETH)
    tick(kit, 60)
    assert [name for name, _ in one.closed()] == ["BTCUSDT"]
    kit.hub.remove(other)
    tick(kit, 60)
    assert [name for name, _ in other.closed()] == ["ETHUSDT"]


def test_a_clock_stepped_by_a_fault_jumps_minutes_or_tells_them_again(kit: Kit) -> None:
    """Forwards nobody tells what was jumped over; backwards the same minutes close once more."""
    one, minute = listener(kit, BTC), kit.minute()
    kit.fault(fault="skew_clock", seconds=300)
    tick(kit, 60)
    assert one.closed() == [("BTCUSDT", minute + 5)]
    kit.fault(fault="skew_clock", seconds=0)
    tick(kit, 60)
    assert one.closed() == [("BTCUSDT", minute + 1)]


@pytest.mark.parametrize(("where", "rows", "told"), [("klines", 0, 1), ("stream", 1, 0), ("both", 0, 0)])
def test_candles_are_missing_where_the_fault_says(kit: Kit, where: str, rows: int, told: int) -> None:
    """The next candle is left out of the answers, of the stream, or of both."""
    one, minute = listener(kit, BTC), kit.minute()
    kit.fault(fault="skip_candles", symbol="BTCUSDT", ago=-1, count=1, where=where)
    tick(kit, 60)
    assert len(one.closed()) == told
    answer = kit.json("GET", "/fapi/v1/klines", symbol="BTCUSDT", interval="1m", limit=2)
    assert [row[0] // 60_000 for row in answer].count(minute) == rows


def test_candles_stop_and_are_repeated_on_the_stream(kit: Kit) -> None:
    """Stopped, neither closed nor running ones are told; repeated, each closed one comes twice."""
    one, minute = listener(kit, BTC, ETH), kit.minute()
    kit.fault(fault="repeat_candle", symbol="ETHUSDT", where="stream")
    kit.fault(fault="stop_candles", symbol="BTCUSDT", where="stream")
    one.got.clear()
    for _ in range(20):
        tick(kit, 3)
    assert {event["s"] for event in one.got} == {"ETHUSDT"}
    assert one.closed() == [("ETHUSDT", minute), ("ETHUSDT", minute)]
    kit.fault(fault="clear")
    tick(kit, 60)
    assert one.closed() == [("BTCUSDT", minute + 1), ("ETHUSDT", minute + 1)]


def test_a_client_that_never_reads_is_broken_off_and_its_messages_dropped() -> None:
    """So many may wait and no more; after that nothing is kept for it."""
    request = Mock()
    connection = Connection(cast("Any", None), request, Subscriptions([], combined=False, limit=1), "/ws", 0.0)
    for _ in range(WAITING_MAX):
        connection.push(Frame(b"{}"))
    request.transport.abort.assert_not_called()
    connection.push(Frame(b"{}"))
    request.transport.abort.assert_called_once()
    assert len(connection._waiting) == 0


def test_faults_of_the_streams_are_listed_and_cleared(kit: Kit) -> None:
    """As posted, but for the seconds and the number that are left."""
    kit.fault(fault="refuse_streams", seconds=10)
    kit.fault(fault="silence_streams")
    kit.fault(fault="garble_streams", how="html", times=3, closed_only=False)
    kit.fault(fault="delay_streams", seconds=2)
    kit.fault(fault="stream_rules", life_s=60)
    kit.fault(fault="routed_streams")
    kit.clock.advance(4)
    listed = {fault["fault"]: fault for fault in faults(kit)}
    assert listed["refuse_streams"]["seconds"] == 6
    assert listed["silence_streams"]["seconds"] is None
    assert listed["garble_streams"]["times"] == 3
    assert listed["stream_rules"]["life_s"] == 60
    assert set(listed) >= {"delay_streams", "routed_streams"}
    kit.fault(fault="clear")
    assert faults(kit) == []


def faults(kit: Kit) -> list[Any]:
    """The lasting faults as they are listed."""
    from microservices.paper_exchange.routes_paper import get_faults

    lasting: list[Any] = msgspec.json.decode(get_faults(kit.venue, kit.hub).body)["lasting"]
    return lasting


@pytest.mark.parametrize(("closed_only", "spoilt"), [(True, ["closed"]), (False, ["running"])])
def test_a_spoilt_event_is_one_of_those_asked_for(kit: Kit, closed_only: bool, spoilt: list[str]) -> None:
    """The next closed candle, or the next event of any kind; no other."""
    one = listener(kit, BTC)
    kit.fault(fault="garble_streams", how="shape", closed_only=closed_only)
    one.got.clear()
    for _ in range(30):
        tick(kit, 3)
    whole = ["closed" if event["k"]["x"] else "running" for event in one.got if isinstance(event["k"], dict)]
    assert len(one.got) - len(whole) == 1
    missing = "closed" if whole.count("closed") == 0 else "running"
    assert [missing] == spoilt


class Watched(Listener):
    """A connection of which a test sees how it was ended."""

    def __init__(self, *streams: str) -> None:
        super().__init__(*streams)
        self.ended: list[int] = []
        self.pings = 0

    def push(self, frame: Frame) -> None:
        """Count a ping."""
        self.pings += isinstance(frame, PingFrame)

    def end(self, code: int, reason: str) -> None:
        """Keep the code."""
        self.ended.append(code)


def test_who_answers_pings_stays_and_who_does_not_is_ended_after_ten_minutes(kit: Kit) -> None:
    """Both are pinged every three minutes."""
    polite, deaf = Watched(), Watched()
    for one in (polite, deaf):
        kit.hub.add(one)
    for minute in range(10):
        assert deaf.ended == [], minute
        tick(kit, 60)
        polite.ponged(kit.clock.monotonic())
    assert (polite.ended, deaf.ended) == ([], [1008])
    assert polite.pings == deaf.pings == 3


def test_a_connection_ends_after_24_hours(kit: Kit) -> None:
    """Not a minute before."""
    one = Watched()
    kit.hub.add(one)
    for ended, seconds in (([], 24 * 3600 - 1), ([1001], 1)):
        kit.clock.advance(seconds)
        one.ponged(kit.clock.monotonic())
        kit.hub.tick()
        assert one.ended == ended


def test_ten_messages_a_second_may_be_sent() -> None:
    """However they lie, no second may hold an eleventh."""
    one, rules = Watched(), StreamRules()
    for number in range(40):
        one.received(number * 0.1, rules)
    assert one.ended == []
    one.received(3.95, rules)
    assert one.ended == [1008]
