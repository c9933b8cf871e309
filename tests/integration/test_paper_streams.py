"""The paper exchange's WebSocket streams on the wire: forms, frames, rules and faults."""

import asyncio
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import requests

from tests.support.paper import PaperExchange
from tests.support.paper_streams import handshake_status, kline, listening, run
from tests.support.waiting import wait_until

BTC, ETH = "btcusdt@kline_1m", "ethusdt@kline_1m"
COLUMNS = "tohlcvTqnVQB"


@pytest.fixture(scope="module")
def running() -> Iterator[PaperExchange]:
    """One exchange for this file, on which a minute takes a quarter of a second."""
    with PaperExchange(settings={"PAPER_SPEED": "240", "PAPER_UPDATE_MS": "100"}) as started:
        yield started


@pytest.fixture
def paper(running: PaperExchange) -> PaperExchange:
    """The same, with the faults of the test before ended."""
    running.clear_faults()
    return running


def row(paper: PaperExchange, symbol: str, open_ms: int) -> list[Any]:
    """Ask for the candle of a minute."""
    rows = paper.get("/fapi/v1/klines", symbol=symbol, interval="1m", startTime=open_ms, limit=1).json
    return list(rows[0])


@pytest.mark.parametrize(
    ("target", "wrapped"),
    [
        (f"/ws/{BTC}", False),
        (f"/ws/{ETH}/{BTC}", False),
        (f"/market/ws/{BTC}", False),
        (f"/private/ws/{BTC}", False),
        (f"/stream?streams={BTC}", True),
        (f"/market/stream?streams={ETH}/{BTC}", True),
        (f"/private/stream?streams={BTC}", True),
        ("/stream?streams=btcusdt%40kline_1m", True),
    ],
)
def test_a_closed_candle_is_the_one_that_klines_answer(paper: PaperExchange, target: str, wrapped: bool) -> None:
    """On every path and in both forms, each value of the event is that of the row."""

    async def story() -> None:
        async with listening(paper, target) as stream:
            event = await stream.event(lambda event: kline(event)["s"] == "BTCUSDT" and kline(event)["k"]["x"])
            assert set(event) == ({"stream", "data"} if wrapped else {"e", "E", "s", "k"})
            if wrapped:
                assert event["stream"] == BTC
            told = kline(event)
            assert (told["e"], told["k"]["s"], told["k"]["i"]) == ("kline", "BTCUSDT", "1m")
            assert [told["k"][name] for name in COLUMNS] == row(paper, "BTCUSDT", told["k"]["t"])
            assert told["E"] > told["k"]["T"]
            assert told["k"]["L"] - told["k"]["f"] + 1 == told["k"]["n"]

    run(story())


def test_an_address_may_name_as_many_streams_as_a_connection_may_have(paper: PaperExchange) -> None:
    """1,024 of them with long names, the last of which exists."""
    others = "/".join(f"{quote('币安人生')}{number}usdt@kline_1m" for number in range(1023))

    async def story() -> None:
        async with listening(paper, f"/market/stream?streams={others}/{BTC}") as stream:
            assert (await stream.event())["stream"] == BTC

    run(story())


def test_the_running_candle_is_told_until_it_closes_once(paper: PaperExchange) -> None:
    """Events of one minute are open until the last, which is closed; then the next minute follows at once."""

    async def story() -> None:
        async with listening(paper, f"/ws/{BTC}") as stream:
            await stream.closed_candle()
            told = [(await stream.event())["k"]]
            while {candle["x"] for candle in told} != {True, False} or told[-1]["t"] - told[0]["t"] < 4 * 60_000:
                told.append((await stream.event())["k"])
        minutes = sorted({candle["t"] for candle in told})
        assert [candle["t"] for candle in told] == sorted(candle["t"] for candle in told)
        assert all(later - earlier == 60_000 for earlier, later in pairwise(minutes))
        for minute in minutes[:-1]:
            closed = [candle["x"] for candle in told if candle["t"] == minute]
            assert closed == [False] * (len(closed) - 1) + [True]

    run(story())


def test_subscriptions_change_by_frames(paper: PaperExchange) -> None:
    """An empty raw connection listens, lists and stops; the property says whether events come wrapped."""

    async def story() -> None:
        async with listening(paper, "/ws") as stream:
            assert await stream.ask("SUBSCRIBE", BTC, ETH) == {"result": None, "id": 1}
            assert await stream.ask("LIST_SUBSCRIPTIONS", number=2) == {"result": [BTC, ETH], "id": 2}
            assert await stream.ask("UNSUBSCRIBE", ETH, number=3) == {"result": None, "id": 3}
            assert await stream.ask("SET_PROPERTY", "combined", True, number=4) == {"result": None, "id": 4}
            assert await stream.ask("GET_PROPERTY", "combined", number=5) == {"result": True, "id": 5}
            assert (await stream.event())["stream"] == BTC

    run(story())
    frames = [entry["parameters"]["frame"] for entry in paper.requests(method="FRAME", path="/ws")]
    assert any(BTC in frame for frame in frames)


def test_connections_are_among_the_requests(paper: PaperExchange) -> None:
    """With path and streams, 101 while they are open and the refusal's status where they were refused."""
    last = paper.requests()[-1]["seq"] if paper.requests() else 0

    async def story() -> None:
        async with listening(paper, f"/market/stream?streams={BTC}/{ETH}"):
            [entry] = paper.requests(after=last, path="/market")
            assert (entry["status"], entry["took_ms"]) == (101, None)
            assert entry["parameters"] == {"streams": f"{BTC}/{ETH}"}
        paper.fault({"fault": "refuse_streams", "seconds": 60, "status": 429})
        assert await handshake_status(paper, f"/ws/{BTC}") == 429

    run(story())
    assert paper.requests(after=last)[-1]["status"] == 429


def test_a_client_that_never_answers_pings_loses_its_connection(paper: PaperExchange) -> None:
    """Pings carry the time, and are answered themselves; the close comes when the time for an answer is over."""
    paper.fault({"fault": "stream_rules", "ping_s": 0.1})

    async def story() -> None:
        async with listening(paper, "/ws", autoping=False) as stream:
            ping = await stream.receive()
            assert ping.type is aiohttp.WSMsgType.PING
            assert ping.data.isdigit()
            await stream.socket.ping(b"are you there")
            while (message := await stream.receive()).type is aiohttp.WSMsgType.PING:
                pass
            assert (message.type, bytes(message.data)) == (aiohttp.WSMsgType.PONG, b"are you there")
            paper.fault({"fault": "stream_rules", "ping_s": 0.1, "pong_s": 0.5})
            assert await stream.end() == 1008

    run(story())


def test_a_connection_lives_as_long_as_the_rules_say(paper: PaperExchange) -> None:
    """The 24-hour disconnect, here after half a second, comes with a close frame."""
    paper.fault({"fault": "stream_rules", "life_s": 0.5})

    async def story() -> None:
        began = time.monotonic()
        async with listening(paper, f"/ws/{BTC}") as stream:
            assert await stream.end() == 1001
        assert time.monotonic() - began >= 0.5

    run(story())


def test_who_sends_too_much_or_listens_to_too_much_is_closed(paper: PaperExchange) -> None:
    """A message too many within a second ends a connection, and so do a stream beyond the limit and a huge frame."""
    paper.fault({"fault": "stream_rules", "streams": 2, "messages_per_s": 3})

    async def story() -> None:
        async with listening(paper, "/ws") as stream:
            for number in range(4):  # one too many; more would meet a closed connection, which tells no reason
                await stream.socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": number})
            assert await stream.end() == 1008
        async with listening(paper, "/ws") as stream:
            await stream.socket.send_json({"method": "SUBSCRIBE", "params": [BTC, ETH, "x@kline_1m"], "id": 1})
            assert await stream.end() == 1008
        async with listening(paper, f"/stream?streams={BTC}/{ETH}/x@kline_1m") as stream:
            assert await stream.end() == 1008
        async with listening(paper, "/ws") as stream:
            await stream.socket.send_str("x" * 100_000)
            assert await stream.end() == 1009

    run(story())


@pytest.mark.parametrize(("how", "code"), [("abort", 1006), ("close", 1001)])
def test_connections_are_dropped_on_demand(paper: PaperExchange, how: str, code: int) -> None:
    """All at once, with and without a close frame; a new one is taken at once."""

    async def story() -> None:
        async with listening(paper, f"/ws/{BTC}") as one, listening(paper, f"/stream?streams={ETH}") as other:
            await one.event()
            await other.event()
            paper.fault({"fault": "drop_streams", "how": how})
            assert [await one.end(), await other.end()] == [code, code]
        assert await handshake_status(paper, f"/ws/{BTC}") == 101

    run(story())


def test_every_connection_is_dropped_on_demand(paper: PaperExchange) -> None:
    """Streams, a request that waits for its answer, and kept-alive ones that wait for nothing; new ones are taken."""
    paper.fault({"fault": "latency", "seconds": 60, "path": "/fapi/v1/ping", "times": 1})

    last = paper.requests()[-1]["seq"]

    async def story() -> None:
        async with listening(paper, f"/ws/{BTC}") as stream:
            url = f"{paper.base_url}/fapi/v1/ping"
            waiting = asyncio.create_task(asyncio.to_thread(requests.get, url, timeout=30))
            await asyncio.to_thread(wait_until, lambda: paper.requests(path="/fapi/v1/ping", after=last))
            paper.fault({"fault": "drop_connections"})
            assert await stream.end() == 1006
            with pytest.raises(requests.ConnectionError):
                await waiting
        assert await handshake_status(paper, f"/ws/{BTC}") == 101

    run(story())
    assert paper.get("/fapi/v1/time").status == 200


def test_new_connections_are_refused_for_a_while(paper: PaperExchange) -> None:
    """Those open stay, new ones get the status until the time is over."""

    async def story() -> None:
        async with listening(paper, f"/ws/{BTC}") as stream:
            paper.fault({"fault": "refuse_streams", "seconds": 600})
            assert await handshake_status(paper, "/ws") == 503
            await stream.event()
            paper.fault({"fault": "refuse_streams", "seconds": 0.5})
            began = time.monotonic()
            while await handshake_status(paper, "/ws") == 503:
                assert time.monotonic() - began < 20
            await stream.event()

    run(story())


@pytest.mark.parametrize(
    ("fault", "status", "headers"),
    [
        ({"fault": "status", "status": 429, "retry_after_s": 7}, 429, {"Retry-After": "7"}),
        ({"fault": "html", "status": 200}, 200, {"Content-Type": "text/html"}),
        ({"fault": "service_unavailable"}, 503, {}),
        ({"fault": "error", "code": -1003}, 429, {}),
    ],
    ids=lambda value: value["fault"] if isinstance(value, dict) and "fault" in value else "",
)
def test_a_handshake_is_answered_as_a_fault_says(
    paper: PaperExchange, fault: dict[str, Any], status: int, headers: dict[str, str]
) -> None:
    """A fault whose path is the streams' strikes their next handshake, and no request; the one after is taken."""
    last = paper.requests()[-1]["seq"]
    paper.fault({**fault, "path": "/market", "times": 1})

    async def story() -> None:
        assert paper.get("/fapi/v1/ping").status == 200
        assert await handshake_status(paper, f"/ws/{BTC}") == 101, "another path"
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with listening(paper, f"/market/ws/{BTC}"):
                pass
        assert refused.value.status == status
        assert refused.value.headers is not None
        assert headers.items() <= refused.value.headers.items()
        assert await handshake_status(paper, f"/market/ws/{BTC}") == 101

    run(story())
    struck = [entry for entry in paper.requests(after=last, path="/market") if entry["faults"]]
    assert [(entry["status"], entry["faults"]) for entry in struck] == [(status, [fault["fault"]])]


def test_a_handshake_is_broken_off_or_late(paper: PaperExchange) -> None:
    """A drop answers nothing at all; latency lets it be taken, so much later."""
    paper.fault({"fault": "drop", "path": "/market"})  # each time: the client tries a second time by itself

    async def story() -> None:
        with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
            await handshake_status(paper, f"/market/ws/{BTC}")
        paper.clear_faults()
        paper.fault({"fault": "latency", "path": "/market", "seconds": 0.3, "times": 1})
        began = time.monotonic()
        assert await handshake_status(paper, f"/market/ws/{BTC}") == 101
        assert time.monotonic() - began >= 0.3

    run(story())


def test_a_silent_connection_is_open_and_says_nothing(paper: PaperExchange) -> None:
    """Pings go on; what was missed does not come later, so that there is a gap in what was told."""
    paper.fault({"fault": "stream_rules", "ping_s": 0.1})

    async def story() -> None:
        async with listening(paper, f"/ws/{BTC}", autoping=False) as stream:
            began_ms = paper.get("/fapi/v1/time").json["serverTime"]
            paper.fault({"fault": "silence_streams", "seconds": 1.5})
            silent_ms, pings = paper.get("/fapi/v1/time").json["serverTime"], 0
            told_ms = began_ms
            while told_ms <= silent_ms:  # what was sent before the silence began
                message = await stream.receive()
                pings += message.type is aiohttp.WSMsgType.PING
                told_ms = message.json()["E"] if message.type is aiohttp.WSMsgType.TEXT else told_ms
            assert told_ms - began_ms >= 1.5 * 240_000
            assert pings

    run(story())


def test_events_are_spoilt_on_demand(paper: PaperExchange) -> None:
    """One event comes as rubbish of the kind asked for, closed candles or any; those around it are whole."""

    async def story() -> None:
        async with listening(paper, f"/stream?streams={BTC}") as stream:
            for how in ("truncate", "text", "html", "binary", "shape", "number"):
                paper.fault({"fault": "garble_streams", "how": how, "closed_only": False})
                message = await stream.receive()
                while is_event(message):
                    message = await stream.receive()
                assert (message.type is aiohttp.WSMsgType.BINARY) == (how == "binary")
                assert is_event(await stream.receive())

    run(story())


def is_event(message: aiohttp.WSMessage) -> bool:
    """Whether a message is an event as a careful client takes it."""
    try:
        candle = message.json()["data"]["k"]
        return float(candle["c"]) > 0
    except (ValueError, KeyError, TypeError):
        return False


def test_events_come_late_on_demand(paper: PaperExchange) -> None:
    """Half a second of this machine's is two minutes of this exchange's."""
    paper.fault({"fault": "delay_streams", "seconds": 0.5})

    async def story() -> None:
        async with listening(paper, f"/ws/{BTC}") as stream:
            told = await stream.closed_candle()
        assert paper.get("/fapi/v1/time").json["serverTime"] - told["E"] >= 120_000

    run(story())


def test_klines_keep_to_their_path_where_streams_are_routed(paper: PaperExchange) -> None:
    """The old paths and the private one take a subscription and stay silent; `/market` tells."""
    paper.fault({"fault": "routed_streams"})

    async def story() -> None:
        async with (
            listening(paper, f"/ws/{BTC}") as old,
            listening(paper, "/private/ws") as private,
            listening(paper, f"/market/ws/{BTC}") as market,
        ):
            await private.socket.send_json({"method": "SUBSCRIBE", "params": [BTC], "id": 1})
            assert await private.event() == {"result": None, "id": 1}
            for _ in range(2):
                await market.closed_candle()
            for silent in (old, private):
                await silent.socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 2})
                assert await silent.event() == {"result": [BTC], "id": 2}

    run(story())


def test_the_exchange_ends_while_clients_listen(running: PaperExchange) -> None:
    """Their connections do not hold it up, and are closed."""
    with PaperExchange() as paper:

        async def story() -> None:
            async with listening(paper, f"/ws/{BTC}") as stream:
                paper.stop()
                assert await stream.end() in (1001, 1006)

        run(story())


def write_recording(folder: Path, closes: list[str]) -> None:
    """Write flat candles of ETHUSDT that ended years ago."""
    folder.mkdir()
    rows = [f"{1_577_836_800_000 + i * 60_000},{close},{close},{close},{close},1" for i, close in enumerate(closes)]
    (folder / "ETHUSDT-1m.csv").write_text("\n".join(["open_time,open,high,low,close,volume", *rows]))


def test_recorded_candles_close_live_from_the_files(tmp_path: Path) -> None:
    """With minutes of the recording still to come, the stream tells them in their order as the clock reaches them."""
    recorded = [f"{3000 + i}.00" for i in range(2000)]
    write_recording(tmp_path / "klines", recorded)
    settings = {"PAPER_SPEED": "600", "PAPER_KLINES_DIR": str(tmp_path / "klines"), "PAPER_REPLAY_MINUTES": "1990"}

    async def story() -> None:
        with PaperExchange(settings=settings) as paper:
            before = paper.get("/fapi/v1/klines", symbol="ETHUSDT", interval="1m").json
            assert [row[4] for row in before[:10]] == recorded[:10]
            async with listening(paper, f"/market/ws/{ETH}") as stream:
                told = [(await stream.closed_candle())["k"]["c"] for _ in range(8)]
        start = recorded.index(told[0])
        assert start >= 10
        assert told == recorded[start : start + 8]

    run(story())


def test_symbols_that_are_not_ascii_are_symbols_like_others() -> None:
    """Percent-encoded in requests and addresses, as they are in frames and events; they can be traded."""
    settings = {"PAPER_SPEED": "120", "PAPER_SYMBOLS": "34", "PAPER_UPDATE_MS": "100"}
    with PaperExchange(settings=settings) as paper:
        symbols = [row["symbol"] for row in paper.get("/fapi/v1/exchangeInfo").json["symbols"]]
        [symbol] = [name for name in symbols if name.startswith("币安人生")]

        async def story() -> None:
            stream_name = f"{symbol.lower()}@kline_1m"
            async with (
                listening(paper, f"/market/stream?streams={quote(stream_name)}") as one,
                listening(paper, "/ws") as other,
            ):
                assert (await other.ask("SUBSCRIBE", stream_name))["result"] is None
                for event in (await one.event(), await other.event()):
                    assert kline(event)["s"] == symbol
                told = await one.closed_candle()
            assert row(paper, symbol, told["k"]["t"])[4] == told["k"]["c"]

        run(story())

        def filled() -> bool:
            server_ms = paper.get("/fapi/v1/time").json["serverTime"]  # half a second later it is too old
            return bool(
                paper.order(symbol, "BUY", "10", timestamp=server_ms, recvWindow=60_000).json.get("executedQty")
            )

        wait_until(filled, 30)
        assert paper.requests(method="POST")[-1]["parameters"]["symbol"] == symbol


def test_the_whole_clock_runs_faster(paper: PaperExchange) -> None:
    """The time that is told runs 240 times faster than this machine's, and candles follow it."""
    began, began_ms = time.monotonic(), paper.get("/fapi/v1/time").json["serverTime"]
    now_ms, answered = began_ms, time.monotonic()
    while time.monotonic() - answered < 0.5:
        assert now_ms <= (now_ms := paper.get("/fapi/v1/time").json["serverTime"])
    now_ms = paper.get("/fapi/v1/time").json["serverTime"]
    passed_s = time.monotonic() - began
    assert now_ms - began_ms >= 0.5 * 240_000 - 1
    assert now_ms - began_ms <= passed_s * 240_000 + 1
    newest = paper.get("/fapi/v1/klines", symbol="BTCUSDT", interval="1m", limit=1).json[0][0]
    assert newest >= now_ms // 60_000 * 60_000
