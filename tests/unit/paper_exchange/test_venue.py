"""Account, market and admission as clients see them, and every fault that changes what they see."""

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from microservices.paper_exchange.account import Position
from microservices.paper_exchange.every_fault import read_faults
from microservices.paper_exchange.journal import Journal
from microservices.paper_exchange.routes_paper import get_requests, post_faults
from microservices.paper_exchange.state_file import BadStateFile, State, alias_of, load_state
from tests.unit.paper_exchange.kit import Kit

D = Decimal
RISK, ORDER = "/fapi/v2/positionRisk", "/fapi/v1/order"
SHORT = {"BTCUSDT": Position(D("-0.030"), D(90_000), 5)}


def test_position_risk_has_a_row_for_every_symbol() -> None:
    """Flat ones too; one never traded shows no mark price, as recorded answers do, one that was traded shows it."""
    kit = Kit(positions={**SHORT, "ETHUSDT": Position(D(0), D(0), 7)})
    rows = {row["symbol"]: row for row in kit.json("GET", RISK)}
    assert list(rows) == ["BTCUSDT", "ETHUSDT", "XRPUSDT"]
    assert rows["BTCUSDT"] | {
        "positionAmt": "-0.030", "entryPrice": "90000", "markPrice": "100000.00000000", "leverage": "20",
        "unRealizedProfit": "-300.00000000", "notional": "-3000", "positionSide": "BOTH", "updateTime": 5,
    } == rows["BTCUSDT"]  # fmt: skip
    assert (rows["ETHUSDT"]["positionAmt"], rows["ETHUSDT"]["markPrice"]) == ("0.000", "4000.00000000")
    assert (rows["XRPUSDT"]["positionAmt"], rows["XRPUSDT"]["markPrice"]) == ("0.0", "0.00000000")


def test_account_and_balance_agree_with_the_positions() -> None:
    """Wallet, unrealised profit, margin and what is available, in total and for USDT; other assets are empty."""
    kit = Kit(positions=SHORT)
    account = kit.json("GET", "/fapi/v2/account")
    assert account["totalWalletBalance"] == "10000.00000000"
    assert account["totalUnrealizedProfit"] == "-300.00000000"
    assert account["totalMarginBalance"] == "9700.00000000"
    assert account["availableBalance"] == "9550.00000000"
    assert [row["positionAmt"] for row in account["positions"]] == ["-0.030", "0.000", "0.0"]
    rows = kit.json("GET", "/fapi/v2/balance")
    assert {row["accountAlias"] for row in rows} == {"ALIAS"}
    assert {row["asset"]: row["balance"] for row in rows} == {
        "USDT": "10000.00000000", "BNB": "0.00000000", "USDC": "0.00000000",
    }  # fmt: skip


def test_premium_index_has_every_trading_symbol() -> None:
    """One row, or all that trade; with the mark price the orders fill at."""
    kit = Kit()
    kit.info.set_status("XRPUSDT", "SETTLING")
    rows = kit.json("GET", "/fapi/v1/premiumIndex")
    assert [row["symbol"] for row in rows] == ["BTCUSDT", "ETHUSDT"]
    one = kit.json("GET", "/fapi/v1/premiumIndex", symbol="BTCUSDT")
    assert (one["markPrice"], one["time"]) == ("100000.00000000", kit.now_ms())
    assert one["nextFundingTime"] % (8 * 3_600_000) == 0


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", -1102),
        ("symbol=BTCUSDT", -1102),
        ("symbol=BTCUSDT&interval=5m", -1120),
        ("symbol=NONE&interval=1m", -1121),
        ("symbol=BTCUSDT&interval=1m&limit=1501", -1130),
        ("symbol=BTCUSDT&interval=1m&limit=0", -1130),
        ("symbol=BTCUSDT&interval=1m&limit=-1", -1130),
        ("symbol=BTCUSDT&interval=1m&startTime=x", -1130),
        ("symbol=BTCUSDT&interval=1m&startTime=2&endTime=1", -1023),
    ],
)
def test_klines_refuse_what_they_cannot_answer(query: str, code: int) -> None:
    """Each wrong parameter has its code."""
    assert msgspec.json.decode(Kit().raw("GET", f"/fapi/v1/klines?{query}").body)["code"] == code


def test_exchange_info_carries_the_time_of_the_answer() -> None:
    """The document is the recorded one but for its server time."""
    kit = Kit()
    kit.clock.advance(77)
    document = msgspec.json.decode(kit.raw("GET", "/fapi/v1/exchangeInfo").body)
    assert document["serverTime"] == kit.now_ms()
    assert [row["symbol"] for row in document["symbols"]] == ["BTCUSDT", "ETHUSDT", "XRPUSDT"]
    assert document["rateLimits"][0]["limit"] == 2400


def test_an_unknown_path_or_method_is_refused() -> None:
    """404 with the path in the text."""
    answer = Kit().raw("PUT", "/fapi/v1/order?x=1")
    assert (answer.status, msgspec.json.decode(answer.body)) == (
        404,
        {"code": -5000, "msg": "Path /fapi/v1/order, Method PUT is invalid"},
    )


def test_the_weight_limit_is_the_answers_own_unless_told_otherwise() -> None:
    """2,400 a minute by the built-in exchangeInfo; then 429."""
    kit = Kit(weight_per_min=None)
    for _ in range(80):
        assert kit.answer("GET", "/fapi/v1/positionSide/dual").status == 200
    assert kit.raw("GET", "/fapi/v1/ping").status == 429


@pytest.mark.parametrize(
    ("fault", "status", "code", "msg"),
    [
        ({"fault": "error", "code": -1021}, 400, -1021, "outside of the recvWindow"),
        ({"fault": "error", "code": -5028}, 400, -5028, "ME recvWindow"),
        ({"fault": "error", "code": -1008}, 503, -1008, "system-level protection"),
        ({"fault": "error", "code": -1007}, 408, -1007, "execution status unknown"),
        ({"fault": "error", "code": -9999, "msg": "new"}, 400, -9999, "new"),
        ({"fault": "service_unavailable"}, 503, -1001, "Service Unavailable."),
        ({"fault": "unknown_execution", "executed": False}, 503, -1000, "Unknown error, please check"),
        ({"fault": "status", "status": 418, "retry_after_s": 120}, 418, -1003, "Too many requests"),
        ({"fault": "status", "status": 500, "code": -1000}, 500, -1000, "unknown error"),
    ],
)
def test_a_refusal_on_demand_executes_nothing(fault: dict[str, object], status: int, code: int, msg: str) -> None:
    """Every refusal has its status, code and text, and the order is not executed; the next one is."""
    kit = Kit()
    kit.fault(**fault, times=1)
    query = f"symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.010&timestamp={kit.now_ms()}"
    answer = kit.raw("POST", f"{ORDER}?{query}")
    body = msgspec.json.decode(answer.body)
    assert (answer.status, body["code"]) == (status, code)
    assert msg in body["msg"]
    assert answer.headers.get("Retry-After") == ("120" if status == 418 else None)
    assert kit.position("BTCUSDT") == 0
    assert kit.order("BTCUSDT", "BUY", "0.010")["status"] == "FILLED"


def test_throttling_spares_orders_that_take_risk_off() -> None:
    """-1008 strikes opens alone, as the exchange promises."""
    kit = Kit(positions=SHORT)
    kit.fault(fault="error", code=-1008)
    assert kit.order("BTCUSDT", "BUY", "0.010", reduceOnly="true")["status"] == "FILLED"
    assert kit.order("ETHUSDT", "BUY", "0.010")["code"] == -1008


def test_the_unknown_503_may_hide_a_fill() -> None:
    """The order is executed and found by query, although the answer says nothing of it."""
    kit = Kit()
    kit.fault(fault="unknown_execution", path=ORDER, method="POST", times=1)
    answer = kit.order("BTCUSDT", "BUY", "0.010", newClientOrderId="lost")
    assert answer == {"code": -1000, "msg": "Unknown error, please check your request or try again later."}
    assert kit.json("GET", ORDER, symbol="BTCUSDT", origClientOrderId="lost")["status"] == "FILLED"


def test_an_order_accepted_late_is_in_transit_until_then() -> None:
    """Queries answer -2013 while it travels; then it is executed, at the price of then."""
    kit = Kit()
    kit.fault(fault="accept_late", seconds=5, reply="unknown", times=1)
    assert kit.answer("POST", ORDER, symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.010").status == 503
    assert kit.position("BTCUSDT") == 0
    ((seconds, execute),) = kit.later
    kit.set_price("BTCUSDT", "110000")
    execute()
    assert seconds == 5
    assert kit.venue.account.position("BTCUSDT").entry == 110_000


def test_an_order_accepted_late_may_still_be_refused() -> None:
    """A reduce-only order whose position went away in the meantime leaves nothing behind."""
    kit = Kit(positions=SHORT)
    kit.fault(fault="accept_late", seconds=5, times=1)
    kit.order("BTCUSDT", "BUY", "0.030", reduceOnly="true", newClientOrderId="late")
    assert kit.order("BTCUSDT", "BUY", "0.030", reduceOnly="true")["status"] == "FILLED"
    kit.later[0][1]()
    assert kit.position("BTCUSDT") == 0
    assert kit.json("GET", ORDER, symbol="BTCUSDT", origClientOrderId="late")["code"] == -2013


def test_a_hidden_order_is_not_found_for_a_while() -> None:
    """It filled and was answered, and still queries say -2013 until it has settled."""
    kit = Kit()
    kit.fault(fault="hide_order", seconds=2, times=1)
    assert kit.order("BTCUSDT", "BUY", "0.010", newClientOrderId="mine")["status"] == "FILLED"
    assert kit.json("GET", ORDER, symbol="BTCUSDT", origClientOrderId="mine")["code"] == -2013
    kit.clock.advance(2)
    assert kit.json("GET", ORDER, symbol="BTCUSDT", origClientOrderId="mine")["status"] == "FILLED"


@pytest.mark.parametrize(("share", "executed"), [(0.5, "0.010"), (0, "0.000"), (0.99, "0.020")])
def test_a_market_order_may_expire_with_a_part_filled(share: float, executed: str) -> None:
    """The status is EXPIRED whatever was filled, and the part is a multiple of the step."""
    kit = Kit()
    kit.fault(fault="expire_partial", share=share, times=1)
    answer = kit.order("BTCUSDT", "BUY", "0.021")
    assert (answer["status"], answer["origQty"], answer["executedQty"]) == ("EXPIRED", "0.021", executed)
    assert kit.position("BTCUSDT") == D(executed)


@pytest.mark.parametrize(("by", "client_id"), [("liquidation", "autoclose-"), ("adl", "adl_autoclose")])
def test_the_exchange_can_take_a_part_of_a_position(by: str, client_id: str) -> None:
    """Half of it, then the rest; the order that shows for it is the exchange's own."""
    kit = Kit(positions=SHORT)
    kit.fault(fault="liquidate", symbol="BTCUSDT", share=0.5, by=by)
    assert kit.position("BTCUSDT") == D("-0.015")
    order = kit.venue.orders.saved()[-1]
    assert order.client_order_id.startswith(client_id)
    assert (order.side, order.executed) == ("BUY", D("0.015"))
    kit.fault(fault="liquidate", symbol="BTCUSDT", by=by)
    assert kit.position("BTCUSDT") == 0
    again = msgspec.json.encode({"fault": "liquidate", "symbol": "BTCUSDT", "by": by})
    assert b"has no position" in post_faults(kit.venue, kit.hub, again).body


def test_positions_can_lag_behind_fills() -> None:
    """Both positionRisk and account show the old position for so long, then the new one."""
    kit = Kit()
    kit.fault(fault="position_lag", seconds=3)
    kit.order("BTCUSDT", "BUY", "0.010")
    assert kit.position("BTCUSDT") == 0
    kit.clock.advance(2.9)
    assert kit.json("GET", "/fapi/v2/account")["positions"][0]["positionAmt"] == "0.000"
    kit.clock.advance(0.2)
    assert kit.position("BTCUSDT") == D("0.010")


def test_the_account_can_be_answered_empty_or_in_part() -> None:
    """Nothing at all, without some symbols, or cut off: each for as many answers as asked."""
    kit = Kit(positions=SHORT)
    kit.fault(fault="empty_account", times=3)
    assert kit.json("GET", RISK) == []
    assert kit.json("GET", "/fapi/v2/balance") == []
    assert kit.json("GET", "/fapi/v2/account")["positions"] == []
    kit.fault(fault="partial_account", without=["BTCUSDT"], times=1)
    assert [row["symbol"] for row in kit.json("GET", RISK)] == ["ETHUSDT", "XRPUSDT"]
    kit.fault(fault="partial_account", keep=0.4, times=1)
    assert [row["symbol"] for row in kit.json("GET", RISK)] == ["BTCUSDT"]
    kit.fault(fault="duplicate_rows", times=1)
    assert len(kit.json("GET", RISK)) == 6
    assert len(kit.json("GET", RISK)) == 3


@pytest.mark.parametrize(("rows_only", "dual", "order"), [(False, True, -4061), (True, False, None)])
def test_hedge_mode_shows_two_rows_a_symbol(rows_only: bool, dual: bool, order: int | None) -> None:
    """LONG and SHORT rows; unless only the rows are asked for, the mode says so and one-way orders are refused."""
    kit = Kit(positions=SHORT)
    kit.json("GET", RISK)
    kit.fault(fault="hedge_mode", rows_only=rows_only)
    rows = kit.json("GET", RISK)
    assert [(row["positionSide"], row["positionAmt"]) for row in rows[:2]] == [("LONG", "0"), ("SHORT", "-0.030")]
    assert len(rows) == 6
    assert kit.json("GET", "/fapi/v1/positionSide/dual") == {"dualSidePosition": dual}
    assert kit.order("ETHUSDT", "BUY", "0.010").get("code") == order
    kit.fault(fault="clear")
    assert len(kit.json("GET", RISK)) == 3


def test_a_skewed_clock_is_the_exchanges_own() -> None:
    """Time, timestamps and candles follow it: a client on true time is refused."""
    kit = Kit()
    kit.fault(fault="skew_clock", seconds=90)
    assert kit.json("GET", "/fapi/v1/time") == {"serverTime": kit.now_ms() + 90_000}
    assert kit.json("GET", RISK)["code"] == -1021
    assert kit.json("GET", RISK, recvWindow=100_000)[0]["symbol"] == "BTCUSDT"
    rows = msgspec.json.decode(kit.raw("GET", "/fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=1").body)
    assert rows[0][0] == (kit.now_ms() + 90_000) // 60_000 * 60_000


def test_a_symbol_can_be_delisted_with_a_position() -> None:
    """Gone from exchangeInfo and refused as unknown, while its position still has a row."""
    kit = Kit(positions=SHORT)
    kit.fault(fault="symbol_status", symbol="BTCUSDT", status=None)
    assert "BTCUSDT" not in str(kit.raw("GET", "/fapi/v1/exchangeInfo").body)
    assert kit.json("GET", RISK)[-1]["symbol"] == "BTCUSDT"
    assert kit.order("BTCUSDT", "BUY", "0.010", reduceOnly="true")["code"] == -1121


def test_candles_can_be_told_wrong_from_outside() -> None:
    """Stop, skip and repeat reach the klines answer, and clear ends them."""
    kit = Kit()
    ask = "/fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=4"
    wrong: list[tuple[dict[str, object], list[int]]] = [
        ({"fault": "stop_candles"}, [-4, -3, -2, -1]),
        ({"fault": "skip_candles", "count": 2, "ago": 1}, [-1, 0]),
        ({"fault": "repeat_candle", "symbol": "BTCUSDT"}, [-3, -2, -1, -1, 0]),
    ]
    for fault, minutes in wrong:
        kit.fault(**fault)
        rows = msgspec.json.decode(kit.raw("GET", ask).body)
        assert [row[0] // 60_000 - kit.minute() for row in rows] == minutes
        kit.fault(fault="clear")


def test_a_fault_strikes_what_it_names_after_what_it_lets_through() -> None:
    """Method, path, symbol and client id select; `after` lets pass; `times` ends it."""
    kit = Kit()
    kit.fault(fault="error", code=-1007, method="GET", path=ORDER, client_order_id="mine", after=1, times=1)
    kit.order("BTCUSDT", "BUY", "0.010", newClientOrderId="mine")
    found = [kit.json("GET", ORDER, symbol="BTCUSDT", origClientOrderId="mine").get("code") for _ in range(3)]
    assert found == [None, -1007, None]


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b'{"fault":"unheard"}', b'{"fault":"latency"}', b'{"fault":"drop","at":"never"}',
     b'{"fault":"expire_partial","share":2}', b'{"fault":"drop","tims":1}',
     b'[{"fault":"drop"},{"fault":"liquidate","symbol":"NONE"}]'],
)  # fmt: skip
def test_a_fault_that_cannot_be_read_is_refused_whole(body: bytes) -> None:
    """A test that misspells a fault fails at once, and nothing of a list is taken."""
    kit = Kit()
    assert post_faults(kit.venue, kit.hub, body).status == 400
    assert kit.venue.faults.active() == []


def test_every_fault_of_the_wire_can_be_read() -> None:
    """One or a list; the answer lists what is on."""
    kit = Kit()
    answer = post_faults(kit.venue, kit.hub, b'[{"fault":"latency","seconds":1},{"fault":"skew_clock","seconds":-2}]')
    listed = msgspec.json.decode(answer.body)
    assert [fault["fault"] for fault in listed["striking"] + listed["lasting"]] == ["latency", "skew_clock"]
    assert len(read_faults(b'{"fault":"clear"}')) == 1


def test_requests_are_listed_without_their_signatures() -> None:
    """What was asked, selected by number, method and path."""
    journal = Journal()
    for method, path in (("GET", "/fapi/v1/time"), ("POST", ORDER), ("GET", ORDER)):
        journal.arrive(1, method, path, {"symbol": "X", "signature": "s"}, iter(["latency"]))
    entries = msgspec.json.decode(get_requests(journal, {"after": "1", "path": ORDER, "method": "GET"}).body)
    assert [(entry["seq"], entry["parameters"], entry["status"]) for entry in entries] == [(3, {"symbol": "X"}, None)]
    assert get_requests(journal, {"after": "x"}).status == 400


def test_the_account_survives_in_its_file(tmp_path: Path) -> None:
    """After every change the file holds wallet, positions and orders, and nothing else is left beside it."""
    path = tmp_path / "state.json"
    assert load_state(path) is None
    kit = Kit(state_file=path)
    kit.order("BTCUSDT", "BUY", "0.010", newClientOrderId="mine")
    state = load_state(path)
    assert state is not None
    assert state.positions == kit.venue.account.positions
    assert state.wallet == kit.venue.account.wallet
    assert [order.client_order_id for order in state.orders] == ["mine"]
    assert state.next_order_id == state.orders[0].order_id + 1
    assert [file.name for file in tmp_path.iterdir()] == ["state.json"]
    assert path.stat().st_mode & 0o077 == 0


def test_a_state_that_cannot_be_written_costs_no_order(tmp_path: Path) -> None:
    """The order is executed and answered; the trouble is in the log."""
    kit = Kit(state_file=tmp_path / "absent" / "state.json")
    assert kit.order("BTCUSDT", "BUY", "0.010")["status"] == "FILLED"


NEWER = msgspec.json.encode(State(version=2, alias="a", anchor_minute=1, wallet=D(1)))


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"version":1}', NEWER], ids=["empty", "cut", "list", "bare", "newer"]
)
def test_a_corrupt_state_is_refused_by_name(tmp_path: Path, body: bytes) -> None:
    """A guess would be another account: one line names the file."""
    path = tmp_path / "state.json"
    path.write_bytes(body)
    with pytest.raises(BadStateFile, match=r"state\.json") as caught:
        load_state(path)
    assert "\n" not in str(caught.value)


def test_an_account_is_named_after_its_first_key() -> None:
    """Two key pairs are two accounts, and the name does not give the key away."""
    assert alias_of("one") == alias_of("one") != alias_of("other")
    assert "one" not in alias_of("one").lower()
