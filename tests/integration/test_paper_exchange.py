"""The paper exchange as a process: on the wire, with faults that only a socket can show, over restarts and refusals."""

import csv
import json
import signal
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests

from microservices.exchange import (
    BadAnswer,
    OrderRequest,
    Rejected,
    ServerFault,
    Side,
    SignedClient,
    Throttled,
    Unreachable,
)
from microservices.paper_exchange.builtin_market import builtin_exchange_info
from microservices.runtime import Secret, SystemClock
from tests.support.daemon import Daemon
from tests.support.paper import PaperExchange
from tests.support.ports import free_port
from tests.support.waiting import wait_until

D = Decimal
ORDER = "/fapi/v1/order"


@pytest.fixture(scope="module")
def running() -> Iterator[PaperExchange]:
    """One paper exchange for this file."""
    with PaperExchange() as started:
        yield started


@pytest.fixture
def paper(running: PaperExchange) -> PaperExchange:
    """The same, with the faults of the test before ended and nothing held."""
    running.clear_faults()
    for row in running.signed("GET", "/fapi/v2/positionRisk").json:
        held = D(row["positionAmt"])
        if held:
            running.order(row["symbol"], "SELL" if held > 0 else "BUY", abs(held), reduceOnly="true")
    return running


@pytest.fixture
def client(paper: PaperExchange) -> Iterator[SignedClient]:
    """The suite's own client, with a short deadline."""
    made = SignedClient(paper.base_url, Secret(paper.key), Secret(paper.secret), clock=SystemClock(), timeout_s=1.0)
    yield made
    made.close()


def request_of(client_order_id: str, *, reduce_only: bool = False) -> OrderRequest:
    """A small market order in BTCUSDT."""
    side = Side.SELL if reduce_only else Side.BUY
    return OrderRequest(
        symbol="BTCUSDT", side=side, quantity=D("0.010"), reduce_only=reduce_only, client_order_id=client_order_id
    )


def send(client: SignedClient, name: str) -> Any:
    """Place the small order now."""
    return client.new_order(request_of(name), client.exchange_time_ms())


def test_the_suites_own_client_finds_everything_it_asks_for(client: SignedClient) -> None:
    """Every call that the services make is answered in the form they read."""
    client.ping()
    assert abs(client.server_time_ms() - time.time() * 1000) < 5_000
    symbols = [row["symbol"] for row in json.loads(client.exchange_info())["symbols"]]
    assert len(symbols) == 30
    assert len(client.klines("BTCUSDT", limit=1500)) == 1500
    assert {row.symbol for row in client.premium_index()} == set(symbols)
    assert client.hedge_mode() is False
    assert client.account().total_wallet_balance > 0
    assert client.account_alias() == client.balance()[0].account_alias
    order = send(client, "q-first")
    assert (order.status, order.executed_qty, order.is_final) == ("FILLED", D("0.010"), True)
    assert client.query_order("BTCUSDT", "q-first").avg_price == order.avg_price
    rows = {row.symbol: row for row in client.position_risk()}
    assert set(rows) == set(symbols)
    assert (rows["BTCUSDT"].position_amt, rows["BTCUSDT"].entry_price) == (D("0.010"), order.avg_price)
    with pytest.raises(Rejected) as caught:
        client.cancel_order("BTCUSDT", "q-first")
    assert caught.value.code == -2011


def test_the_weight_is_told_in_every_answer_and_the_orders_in_theirs(paper: PaperExchange) -> None:
    """Clients steer by these headers."""
    before = int(paper.get("/fapi/v1/ping").headers["X-MBX-USED-WEIGHT-1M"])
    after = int(
        paper.get("/fapi/v1/klines", symbol="BTCUSDT", interval="1m", limit=1500).headers["X-MBX-USED-WEIGHT-1M"]
    )
    assert after - before == 10 or after < before  # the minute may have turned
    headers = paper.order("BTCUSDT", "BUY", "0.010").headers
    assert int(headers["X-MBX-ORDER-COUNT-10S"]) >= 1
    assert int(headers["X-MBX-ORDER-COUNT-1M"]) >= 1


def test_a_dropped_connection_leaves_the_outcome_open(paper: PaperExchange, client: SignedClient) -> None:
    """Dropped on arrival nothing is executed, dropped on reply everything is; the client cannot tell which."""
    for at, code in (("arrival", -2013), ("reply", None)):
        paper.fault({"fault": "drop", "at": at, "path": ORDER, "method": "POST", "times": 1})
        with pytest.raises(Unreachable):
            send(client, f"q-{at}")
        answer = paper.signed("GET", ORDER, symbol="BTCUSDT", origClientOrderId=f"q-{at}").json
        assert answer.get("code") == code


def test_a_swallowed_reply_hides_a_fill(paper: PaperExchange, client: SignedClient) -> None:
    """The client runs into its deadline; the position is there, and the order answers when it is asked for."""
    paper.fault({"fault": "swallow_reply", "seconds": 5, "times": 1})
    with pytest.raises(Unreachable):
        send(client, "q-swallowed")
    assert client.query_order("BTCUSDT", "q-swallowed").executed_qty == D("0.010")
    assert paper.position("BTCUSDT") == D("0.010")
    assert paper.requests(method="POST", path=ORDER)[-1]["status"] is None


@pytest.mark.parametrize("reply", ["drop", "unknown", "hang"])
def test_an_order_accepted_late_is_not_there_yet(paper: PaperExchange, client: SignedClient, reply: str) -> None:
    """Whatever the client got instead of an answer, queries say -2013 until the order has filled."""
    paper.fault({"fault": "accept_late", "seconds": 1.5, "reply": reply, "times": 1})
    name = f"q-late-{reply}"
    with pytest.raises((Unreachable, ServerFault)) as caught:
        send(client, name)
    assert not caught.value.not_executed
    with pytest.raises(Rejected) as absent:
        client.query_order("BTCUSDT", name)
    assert absent.value.code == -2013
    found = wait_until(
        lambda: paper.signed("GET", ORDER, symbol="BTCUSDT", origClientOrderId=name).json.get("executedQty"), 5
    )
    assert found == "0.010"


def test_a_request_that_arrives_late_is_too_old(paper: PaperExchange, client: SignedClient) -> None:
    """Latency on the way there counts against recvWindow, on the way back it does not."""
    paper.fault({"fault": "latency", "seconds": 0.3, "at": "arrival", "path": ORDER, "times": 1})
    answer = paper.signed("GET", ORDER, symbol="BTCUSDT", origClientOrderId="x", recvWindow=100)
    assert (answer.status, answer.json["code"]) == (400, -1021)
    paper.fault({"fault": "latency", "seconds": 0.3, "path": "/fapi/v1/time", "times": 1})
    began = time.monotonic()
    assert client.server_time_ms() > 0
    assert time.monotonic() - began >= 0.3


def test_a_body_cut_short_is_no_answer(paper: PaperExchange, client: SignedClient) -> None:
    """Whether the length gives it away or the JSON does, and a proxy's page is none either."""
    for fault in ({"fault": "truncate"}, {"fault": "truncate", "honest_length": True}):
        paper.fault({**fault, "path": "/fapi/v2/positionRisk", "times": 1})
        with pytest.raises((BadAnswer, Unreachable)):
            client.position_risk()
    paper.fault({"fault": "html", "status": 200, "path": "/fapi/v2/positionRisk", "times": 1})
    with pytest.raises(BadAnswer):
        client.position_risk()
    assert len(client.position_risk()) == 30


def test_throttling_and_the_ban_come_over_the_wire() -> None:
    """429 with Retry-After at the limit, 418 for a client that goes on."""
    with PaperExchange(settings={"PAPER_WEIGHT_PER_MIN": "30"}) as paper:
        client = SignedClient(paper.base_url, Secret(paper.key), Secret(paper.secret), clock=SystemClock())
        for _ in range(30):  # whatever the minute, it has used its 30 by now, or will with as many again
            paper.get("/fapi/v1/ping")
        with pytest.raises(Throttled, match="429") as caught:
            wait_until(client.ping, every_s=0)
        assert 0 < caught.value.retry_after_s <= 60
        wait_until(lambda: paper.get("/fapi/v1/ping").status == 418, every_s=0)
        assert int(paper.get("/fapi/v1/ping").headers["Retry-After"]) > 60
        client.close()


def test_positions_survive_a_crash_and_a_restart(tmp_path: Path) -> None:
    """After kill -9 and after a clean end the account, its name, its orders and their ids go on."""
    with PaperExchange(state_file=tmp_path / "state.json") as paper:
        first = paper.order("BTCUSDT", "BUY", "0.010", newClientOrderId="kept").json
        alias = paper.signed("GET", "/fapi/v2/balance").json[0]["accountAlias"]
        for how in (signal.SIGKILL, signal.SIGTERM):
            paper.restart(how)
            assert paper.position("BTCUSDT") == D("0.010")
            assert (
                paper.signed("GET", ORDER, symbol="BTCUSDT", origClientOrderId="kept").json["orderId"]
                == first["orderId"]
            )
        assert paper.signed("GET", "/fapi/v2/balance").json[0]["accountAlias"] == alias
        assert paper.order("BTCUSDT", "BUY", "0.010").json["orderId"] > first["orderId"]


def write_recording(folder: Path, closes: list[str]) -> None:
    """Write flat candles of ETHUSDT that ended years ago."""
    folder.mkdir()
    with (folder / "ETHUSDT-1m.csv").open("w") as file:
        writer = csv.writer(file)
        writer.writerow(["open_time", "open", "high", "low", "close", "volume"])
        writer.writerows(
            [1_577_836_800_000 + i * 60_000, close, close, close, close, "1"] for i, close in enumerate(closes)
        )


def test_recorded_input_is_shown_as_of_now_and_stays_over_a_restart(tmp_path: Path) -> None:
    """The recorded list and candles are served, re-timed to end at the start; a saved state keeps that moment."""
    document = builtin_exchange_info()
    document["symbols"] = [row for row in document["symbols"] if row["symbol"] in ("ETHUSDT", "BTCUSDT")]
    (tmp_path / "info.json").write_text(json.dumps(document))
    write_recording(tmp_path / "klines", ["3000.00", "3001.00", "3002.00"])
    settings = {"PAPER_EXCHANGE_INFO": str(tmp_path / "info.json"), "PAPER_KLINES_DIR": str(tmp_path / "klines")}
    with PaperExchange(settings=settings, state_file=tmp_path / "state.json") as paper:
        paper.order("ETHUSDT", "BUY", "0.010")
        rows = paper.get("/fapi/v1/klines", symbol="ETHUSDT", interval="1m").json
        assert [row[4] for row in rows[:3]] == ["3000.00", "3001.00", "3002.00"]
        assert abs(rows[2][6] / 1000 - time.time()) < 120
        assert len(paper.get("/fapi/v1/klines", symbol="BTCUSDT", interval="1m").json) == 500
        paper.restart()
        assert paper.get("/fapi/v1/klines", symbol="ETHUSDT", interval="1m").json[:3] == rows[:3]


def refused(paper: PaperExchange, *arguments: str) -> tuple[int, str]:
    """Run it to its end; its exit code and the one line that says why."""
    done = paper.daemon(*arguments).run()
    said = [line for line in done.stderr.splitlines() if "starting" not in line and "stopped" not in line]
    assert len(said) == 1, done.stderr
    return done.returncode, said[0]


@pytest.mark.parametrize("name", ["PAPER_EXCHANGE_INFO", "PAPER_KLINES_DIR", "PAPER_STATE_FILE"])
def test_a_file_that_cannot_be_used_refuses_the_start(tmp_path: Path, name: str) -> None:
    """One line that names the file, and exit code 1: never another market or another account instead."""
    (tmp_path / "BTCUSDT.csv").write_text("what is this\n")
    given = tmp_path if name == "PAPER_KLINES_DIR" else tmp_path / "BTCUSDT.csv"
    code, line = refused(PaperExchange(settings={name: str(given)}))
    assert code == 1
    assert "BTCUSDT.csv" in line


def test_an_account_in_another_market_refuses_the_start(tmp_path: Path) -> None:
    """A saved position in a symbol that the market lacks is not dropped silently."""
    document = builtin_exchange_info()
    document["symbols"] = [row for row in document["symbols"] if row["symbol"] == "ETHUSDT"]
    (tmp_path / "info.json").write_text(json.dumps(document))
    state = tmp_path / "state.json"
    with PaperExchange(state_file=state) as paper:
        paper.order("BTCUSDT", "BUY", "0.010")
    code, line = refused(PaperExchange(state_file=state, settings={"PAPER_EXCHANGE_INFO": str(tmp_path / "info.json")}))
    assert (code, "BTCUSDT" in line) == (1, True)


def test_an_address_that_is_taken_refuses_the_start(running: PaperExchange) -> None:
    """Two exchanges on one port: the second says so and ends."""
    second = PaperExchange()
    second.port = running.port
    code, line = refused(second)
    assert (code, f"cannot listen on 127.0.0.1:{running.port}" in line) == (1, True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PAPER_HOST", "192.168.1.1"),
        ("PAPER_HOST", "example.org"),
        ("PAPER_PORT", "0"),
        ("PAPER_SEED", "x"),
        ("PAPER_SPEED", "0"),
        ("PAPER_SYMBOLS", "701"),
        ("PAPER_BALANCE_USDT", "0"),
        ("PAPER_WEIGHT_PER_MIN", "-1"),
        ("PAPER_API_KEY", ""),
        ("PAPER_API_SECRET", ""),
    ],
)
def test_a_wrong_setting_stops_it_with_one_line(name: str, value: str) -> None:
    """Exit code 78 with the variable's name and what is allowed."""
    code, line = refused(PaperExchange(settings={name: value}))
    assert code == 78
    assert line.startswith(f"{name}='{value}': allowed is ")


def test_once_and_check_config_end_by_themselves() -> None:
    """Once serves for a moment and ends with 0, without any Redis; the configuration is shown without the secrets."""
    paper = PaperExchange(settings={"REDIS_PORT": str(free_port())})
    assert paper.daemon("--once").run().returncode == 0
    shown = paper.daemon("--check-config").run()
    assert shown.returncode == 0
    assert f"PAPER_PORT={paper.port}" in shown.stdout
    assert paper.key not in shown.stdout
    assert paper.secret not in shown.stdout


def test_it_runs_as_a_file_and_without_redis() -> None:
    """Started by its path from anywhere, with a Redis that is not there, it serves and ends with 0."""
    paper = PaperExchange(settings={"REDIS_PORT": str(free_port())})
    with Daemon("paper_exchange", environment=paper.own_environment(), as_file=True) as daemon:
        wait_until(lambda: f"Paper exchange on http://127.0.0.1:{paper.port}" in daemon.log(), 20)
        assert paper.get("/fapi/v1/ping").json == {}
        assert daemon.end()[0] == 0


def test_it_ends_at_once_although_a_client_still_waits() -> None:
    """A reply held back for a minute does not hold up the end."""
    with PaperExchange() as paper:
        paper.fault({"fault": "swallow_reply", "path": "/fapi/v1/ping", "method": "GET", "seconds": 60})
        with pytest.raises(requests.ReadTimeout):
            requests.get(f"{paper.base_url}/fapi/v1/ping", timeout=0.2)
        began = time.monotonic()
        paper.stop()
        assert time.monotonic() - began < 15  # of the minute for which the reply is held back
