"""Show the ledger against the exchange's positions, and ask the brain to adopt them."""

import argparse
import getpass
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
from redis import Redis
from redis.exceptions import RedisError

from microservices.contracts import claim, control, permit, position
from microservices.contracts.fields import Unreadable, plain, shown, text
from microservices.contracts.reason import Reason
from microservices.contracts.universe_reader import FUTURE_TOLERANCE_S
from microservices.runtime import CommonSettings, connect, load_settings
from ops.operate.common import CANNOT_TELL, DONE, REFUSED, changed, guarded

NAME = "reconcile_position.sh"
HEARTBEAT_MAX_AGE_S = 3 * position.HEARTBEAT_S
LOOK_EVERY_S = 0.2
SCAN_COUNT = 5_000


class Line(NamedTuple):
    """One symbol's comparison; None where a side has no row."""

    symbol: str
    ledger: Decimal | None
    exchange: Decimal | None
    fault: str = ""
    """Why the ledger or the snapshot cannot be read."""

    @property
    def differs(self) -> bool:
        """Whether the two sides do not agree; a side without a row is flat."""
        return (self.ledger or Decimal(0)) != (self.exchange or Decimal(0))


class _Context(msgspec.Struct):
    by: str = ""


def work(argv: Sequence[str]) -> int:
    """Show, and adopt where asked.

    Raises:
        SettingError: a setting cannot be used.
        Unreadable: the account row or the heartbeat is not as the schema says.
        redis.exceptions.RedisError: Redis did not answer.
    """
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--symbol", default="")
    parser.add_argument("--adopt", action="store_true")
    parser.add_argument("--yes", action="store_true")
    arguments = parser.parse_args(argv)
    redis = connect(load_settings(CommonSettings, os.environ), "reconcile-position")
    lines = compare(redis, arguments.symbol)
    _show(redis, lines)
    if not arguments.adopt:
        return DONE
    if why := obstacle(redis, arguments.symbol):
        return _refused(why)
    if not arguments.yes and not _confirmed(arguments.symbol):
        return _refused("not confirmed")
    return _adopt(redis, arguments.symbol, lines)


def compare(redis: Redis, symbol: str) -> list[Line]:
    """Hold the ledger against the newest snapshot, for one symbol or for all that have either.

    Raises:
        redis.exceptions.RedisError: Redis did not answer.
    """
    symbols = (
        {symbol} if symbol else {*_named(redis, position.ledger_key("")), *_named(redis, position.snapshot_key(""))}
    )
    return [_line(redis, each) for each in sorted(symbols)]


def obstacle(redis: Redis, symbol: str) -> str:
    """Say why the brain cannot adopt now; empty where it can.

    Raises:
        Unreadable: the account row or the heartbeat is not as the schema says.
        redis.exceptions.RedisError: Redis did not answer.
    """
    return _not_alive(redis) or _not_known(redis, symbol) or _claimed(redis, symbol)


def _not_alive(redis: Redis) -> str:
    if not redis.exists(position.LEASE_KEY):
        return f"the brain is not alive: there is no {position.LEASE_KEY}"
    status = position.decode_status(redis.hgetall(position.STATUS_KEY))
    if status is None:
        return f"the brain is not alive: there is no {position.STATUS_KEY}"
    age_s = int(redis.time()[0]) - status.last_ts
    if age_s > HEARTBEAT_MAX_AGE_S:
        return f"the brain is not alive: its heartbeat is {age_s} s old, expected at most {HEARTBEAT_MAX_AGE_S}"
    if age_s < -FUTURE_TOLERANCE_S:
        return f"whether the brain is alive is unknown: its heartbeat is {-age_s} s in the future"
    return ""


def _not_known(redis: Redis, symbol: str) -> str:
    account = position.decode_account(redis.hgetall(position.ACCOUNT_KEY))
    if account is None or not account.complete:
        return "the brain has no complete answer about the account: its log says why"
    if symbol and (why := _why_no_baseline(redis)):
        return f"{why}: run ops/reconcile_position.sh --all --adopt-exchange"
    return ""


def _why_no_baseline(redis: Redis) -> str:
    """Say why the brain compares nothing with the ledger; empty where the account was adopted."""
    pipeline = redis.pipeline(transaction=False)
    pipeline.hgetall(position.BASELINE_KEY)
    raw = pipeline.execute(raise_on_error=False)[0]
    if isinstance(raw, Exception):
        return f"{position.BASELINE_KEY}: {raw}"
    try:
        return "" if position.decode_baseline(raw) else "the account was never adopted"
    except Unreadable as fault:
        return str(fault)


def _claimed(redis: Redis, symbol: str) -> str:
    for raw_id, raw in redis.hgetall(claim.OPEN_KEY).items():
        plan_id = shown(raw_id)
        try:
            of = claim.decode_open(raw, plan_id).symbol
        except Unreadable as fault:
            return f"a claim may be open: {fault}"
        if symbol in ("", of):
            return f"the claim of plan {plan_id} on {shown(of)} is open: an order may be on its way"
    return ""


def _adopt(redis: Redis, symbol: str, lines: Sequence[Line]) -> int:
    """Ask for the adoption, and wait until the brain has done it or the request has run out."""
    key = control.adopt_key(symbol) if symbol else control.ADOPT_ALL_KEY
    now = datetime.now(UTC)
    who = f"{getpass.getuser()}@{socket.gethostname()} {now:%Y-%m-%dT%H:%M:%S.%fZ}"
    newest: Any = redis.xrevrange(permit.EVENTS, count=1)
    last_id = newest[0][0].decode() if newest else "0-0"
    what = symbol or "the whole account"
    redis.set(key, who, ex=control.ADOPT_TTL_S)
    print(f"asked the brain to adopt {what}; waiting up to {control.ADOPT_TTL_S} s", flush=True)
    try:
        try:
            if _is_done(redis, key, who, last_id, symbol):
                return _adopted(redis, symbol, lines)
        finally:
            withdrawn = redis.get(key) == who.encode() and redis.delete(key)
    except (RedisError, KeyboardInterrupt):
        changed(f"asked to adopt {what}: broken off, how it ended is unknown")
        raise
    how = "the request was withdrawn" if withdrawn else "the request ran out or another took its place"
    changed(f"asked to adopt {what}: not done")
    print(f"{NAME}: not adopted, {how}; the brain's log says why", file=sys.stderr)
    return CANNOT_TELL


def _is_done(redis: Redis, key: str, who: str, last_id: str, symbol: str) -> bool:
    """Wait until the brain has executed the request, or it stands no more."""
    deadline_s = time.monotonic() + control.ADOPT_TTL_S + 1
    while time.monotonic() < deadline_s:
        standing = redis.get(key) == who.encode()
        events: Any = redis.xrange(permit.EVENTS, min=f"({last_id}")
        if any(_is_of_request(fields, symbol, who) for _, fields in events):
            return True
        if not standing:
            return False
        last_id = events[-1][0].decode() if events else last_id
        time.sleep(LOOK_EVERY_S)
    return False


def _adopted(redis: Redis, symbol: str, before: Sequence[Line]) -> int:
    was = {line.symbol: line.ledger for line in before}
    after = compare(redis, symbol)
    moved = [
        f"{shown(line.symbol)} {_amount(was.get(line.symbol))} to {_amount(line.ledger)}"
        for line in after
        if (was.get(line.symbol) or Decimal(0)) != (line.ledger or Decimal(0))
    ]
    said = "; ".join(moved) or "no amount changed"
    print(f"✅ adopted {symbol or 'the whole account'}: {said}", flush=True)
    changed(f"ledger adopted from the exchange for {symbol or 'the whole account'}: {said}")
    return DONE


def _is_of_request(fields: Mapping[bytes, bytes], symbol: str, who: str) -> bool:
    """Tell whether this is the brain's event of this very request."""
    if fields.get(b"reason") != Reason.LEDGER_ADOPTED.value.encode() or fields.get(b"symbol") != symbol.encode():
        return False
    try:
        return msgspec.json.decode(fields.get(b"context", b""), type=_Context).by == who
    except msgspec.DecodeError:
        return False


def _show(redis: Redis, lines: Sequence[Line]) -> None:
    account = position.decode_account(redis.hgetall(position.ACCOUNT_KEY))
    adopted = _why_no_baseline(redis).removeprefix("the account was ") or "adopted before"
    # Only beside a complete answer an absent snapshot is a flat position, and no unknown one.
    is_whole = account is not None and account.complete
    if account is None:
        print(f"Account: {adopted}; no snapshot of the exchange")
    else:
        age_s = int(redis.time()[0]) - account.ts_ms / 1000
        incomplete = "" if is_whole else ", not complete: the brain's log says why"
        print(f"Account: {adopted}; mode {account.mode}, snapshot {max(age_s, 0):.0f} s old{incomplete}")
    differing = unknown = 0
    for line in lines:
        if line.fault:
            print(f"❌ {shown(line.symbol)}: {line.fault}")
            unknown += 1
            continue
        is_unknown = line.exchange is None and not is_whole
        exchange = "unknown" if is_unknown else _amount(line.exchange)
        mark = "❌" if line.differs or is_unknown else "✅"
        print(f"{mark} {shown(line.symbol)}: ledger {_amount(line.ledger)}, exchange {exchange}")
        unknown += is_unknown
        differing += line.differs and not is_unknown
    cannot = f", {unknown} cannot be compared" if unknown else ""
    print(f"{len(lines)} symbols, {differing} differ{cannot}", flush=True)


def _line(redis: Redis, symbol: str) -> Line:
    pipeline = redis.pipeline(transaction=True)
    pipeline.hgetall(position.ledger_key(symbol))
    pipeline.hgetall(position.snapshot_key(symbol))
    answers: list[Any] = pipeline.execute(raise_on_error=False)
    try:
        for raw in answers:
            if isinstance(raw, Exception):
                return Line(symbol, None, None, str(raw))
        ledger = position.decode_ledger(answers[0], symbol)
        snapshot = position.decode_snapshot(answers[1], symbol)
    except Unreadable as fault:
        return Line(symbol, None, None, str(fault))
    return Line(
        symbol,
        None if ledger is None else ledger.position_amt,
        None if snapshot is None else snapshot.position_amt,
    )


def _named(redis: Redis, prefix: str) -> Iterator[str]:
    for raw in redis.scan_iter(f"{prefix}*", count=SCAN_COUNT):
        try:
            yield text(raw, "a key").removeprefix(prefix)
        except Unreadable:
            continue


def _confirmed(symbol: str) -> bool:
    print(f"Adopt the exchange's position of {symbol or 'the whole account'} as ours? Type yes: ", end="", flush=True)
    return sys.stdin.readline().strip() == "yes"


def _refused(why: str) -> int:
    print(f"{NAME}: refused: {why}", file=sys.stderr)
    return REFUSED


def _amount(amount: Decimal | None) -> str:
    return "0" if amount is None else plain(amount)


if __name__ == "__main__":
    sys.exit(guarded(NAME, work, sys.argv[1:]))
