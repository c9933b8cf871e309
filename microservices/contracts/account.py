"""One account, one mode: what this Redis belongs to (`quantum:cfg:account`)."""

from urllib.parse import urlsplit

import msgspec
from redis import Redis

from microservices.contracts import hashes
from microservices.contracts.control import Mode
from microservices.contracts.fields import RawHash, Unreadable

KEY = "quantum:cfg:account"


class AccountBinding(msgspec.Struct, frozen=True):
    """Mode, exchange host and account alias that belong to this Redis."""

    mode: Mode
    host: str
    account: str


def host_of(base_url: str) -> str:
    """Name the host of a base URL, without port: a restarted paper exchange may listen on another one."""
    return urlsplit(base_url).hostname or ""


def decode(raw: RawHash) -> AccountBinding | None:
    """Read the hash; an empty answer is absence.

    Raises:
        Unreadable: a field is missing or the mode is unknown.
    """
    return hashes.decode_or_absent(raw, AccountBinding, KEY)


def mismatch(bound: AccountBinding, *, mode: Mode, host: str, account: str | None) -> str:
    """Say in one line how this service differs from what the Redis belongs to; empty where it does not.

    Args:
        bound: what `quantum:cfg:account` says.
        mode: the service's own mode.
        host: the host its base URL names.
        account: the alias the exchange names for the service's key; None where the service has no key.
    """
    mine = {"mode": mode.value, "host": host} | ({} if account is None else {"account": account})
    theirs = hashes.encode(bound)
    different = [
        f"{name} {theirs[name]!r}, this service has {value!r}" for name, value in mine.items() if theirs[name] != value
    ]
    return f"this Redis belongs to another account: {KEY} says {'; '.join(different)}" if different else ""


def bind(redis: Redis, mine: AccountBinding) -> AccountBinding:
    """Write the binding where there is none, all of it or nothing, and return what stands there afterwards.

    Only paper mode may bind by itself; elsewhere the operator does (`ops/set_account.sh`).

    Raises:
        Unreadable: what stands there is not a binding.
    """
    pipeline = redis.pipeline(transaction=True)
    for name, value in hashes.encode(mine).items():
        pipeline.hsetnx(KEY, name, value)
    pipeline.hgetall(KEY)
    bound = decode(pipeline.execute()[-1])
    if bound is None:
        raise Unreadable(KEY, "vanished while it was written")
    return bound


def refusal(redis: Redis, mine: AccountBinding) -> str:
    """Say in one line why a service that trades may not start on this Redis; empty where it may.

    In paper mode an unbound Redis is bound to `mine`; in any other it refuses and names the command.

    Args:
        redis: a client whose answers are bytes.
        mine: the service's mode, its exchange host, and the account alias that the exchange names for its key.
    """
    try:
        bound = decode(redis.hgetall(KEY))
        if bound is None:
            if mine.mode is not Mode.PAPER:
                return f"{KEY} is not set: run ops/set_account.sh --mode {mine.mode} first"
            bound = bind(redis, mine)
    except Unreadable as fault:
        return str(fault)
    return mismatch(bound, mode=mine.mode, host=mine.host, account=mine.account)
