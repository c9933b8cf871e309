"""One account, one mode: what this Redis belongs to (`quantum:cfg:account`)."""

from urllib.parse import urlsplit

import msgspec

from microservices.contracts import hashes
from microservices.contracts.control import Mode
from microservices.contracts.fields import RawHash

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
