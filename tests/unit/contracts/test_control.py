"""Switches and the account binding: absence and doubt stop, and say why."""

import pytest
from fakeredis import FakeRedis, FakeServer

from microservices.contracts import account, control
from microservices.contracts.account import AccountBinding
from microservices.contracts.control import KillSwitch, Mode
from microservices.contracts.fields import WrittenFields

MINE = AccountBinding(Mode.PAPER, "127.0.0.1", "PaperA")


@pytest.mark.parametrize(
    ("raw", "state", "alarms"),
    [
        (None, KillSwitch.NO_NEW_RISK, False),
        (b"off", KillSwitch.OFF, False),
        (b" OFF\n", KillSwitch.OFF, False),
        (b"no_new_risk", KillSwitch.NO_NEW_RISK, False),
        (b"full_stop", KillSwitch.FULL_STOP, False),
        (b"", KillSwitch.FULL_STOP, True),
        (b"on", KillSwitch.FULL_STOP, True),
        (b"false", KillSwitch.FULL_STOP, True),
        (b"\xff", KillSwitch.FULL_STOP, True),
        (b"\t\r\n\v\f No_New_RISK \n", KillSwitch.NO_NEW_RISK, False),
        ("\u00a0off".encode(), KillSwitch.FULL_STOP, True),
        ("no_new_ris\u212a".encode(), KillSwitch.FULL_STOP, True),
        (b"off\x00", KillSwitch.FULL_STOP, True),
        (7, KillSwitch.FULL_STOP, True),
    ],
)
def test_the_kill_switch_stops_in_doubt(raw: object, state: KillSwitch, alarms: bool) -> None:
    """Absent stops opens; anything that is not one of the three words stops everything and raises an alarm (I-39)."""
    answer, alarm = control.decode_kill_switch(raw)
    assert (answer, bool(alarm)) == (state, alarms)


@pytest.mark.parametrize(
    ("raw", "stops_open", "stops_exit"),
    [
        (None, False, False),
        (b"brain:manual_trade", True, False),
        (b"", True, False),
        (b"all: audit", True, True),
        (b"\xff", True, True),
    ],
)
def test_a_hold_stops_opens_and_only_all_stops_exits(raw: bytes | None, stops_open: bool, stops_exit: bool) -> None:
    """A hold never locks a position in, unless the operator says so (I-21)."""
    assert control.hold_stops(raw, is_exit=False) is stops_open
    assert control.hold_stops(raw, is_exit=True) is stops_exit


def test_paper_binds_an_unbound_redis_to_itself() -> None:
    """The first service writes the binding, the second finds it."""
    redis = FakeRedis(server=FakeServer())
    assert account.refusal(redis, MINE) == ""
    assert account.decode(redis.hgetall(account.KEY)) == MINE
    assert account.refusal(redis, MINE) == ""


@pytest.mark.parametrize("mode", [Mode.TESTNET, Mode.MAINNET])
def test_another_mode_does_not_bind_by_itself(mode: Mode) -> None:
    """It refuses, names the command and writes nothing."""
    redis = FakeRedis(server=FakeServer())
    assert "ops/set_account.sh" in account.refusal(redis, AccountBinding(mode, "h", "a"))
    assert redis.hgetall(account.KEY) == {}


@pytest.mark.parametrize(
    "other",
    [
        AccountBinding(Mode.TESTNET, "127.0.0.1", "PaperA"),
        AccountBinding(Mode.PAPER, "127.0.0.2", "PaperA"),
        AccountBinding(Mode.PAPER, "127.0.0.1", "PaperB"),
    ],
)
def test_another_account_is_refused_in_one_line(other: AccountBinding) -> None:
    """Mode, host and account each count, and the stored binding stays."""
    redis = FakeRedis(server=FakeServer())
    account.bind(redis, MINE)
    refusal = account.refusal(redis, other)
    assert refusal
    assert "\n" not in refusal
    assert account.decode(redis.hgetall(account.KEY)) == MINE


@pytest.mark.parametrize("broken", [{"mode": "paper"}, {"mode": "demo", "host": "h", "account": "a"}])
def test_a_broken_binding_is_refused_and_not_completed(broken: WrittenFields) -> None:
    """Half a binding is a contradiction, not a gap to fill."""
    redis = FakeRedis(server=FakeServer())
    redis.hset(account.KEY, mapping=broken)
    assert account.KEY in account.refusal(redis, MINE)
    assert len(redis.hgetall(account.KEY)) == len(broken)


def test_the_host_of_a_url_has_no_port() -> None:
    """A paper exchange that comes back on another port is the same account."""
    assert account.host_of("http://127.0.0.1:8060") == "127.0.0.1"


@pytest.mark.parametrize(
    ("key", "name"),
    [(control.hold_key("X"), "quantum:reconcile:hold:X"), (control.adopt_key("X"), "quantum:position:adopt:X")],
)
def test_switches_have_the_schemas_names(key: str, name: str) -> None:
    """Operators type these names."""
    assert key == name
