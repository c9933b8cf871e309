"""Bind a Redis to the account that the exchange names for a key pair; never rebind it."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from microservices.contracts import account, control
from microservices.contracts.account import AccountBinding
from microservices.contracts.control import Mode
from microservices.contracts.fields import shown
from microservices.exchange import SharedBackoff, SignedClient, base_url, check_host
from microservices.runtime import CommonSettings, Refused, Secret, SystemClock, connect, load_settings
from ops.operate.common import DONE, REFUSED, changed, guarded

NAME = "set_account.sh"


class Settings(CommonSettings, frozen=True, kw_only=True):
    """What it needs to ask the exchange whose key this is."""

    binance_api_key: Secret
    binance_api_secret: Secret
    binance_futures_base_url: Annotated[str, Meta(description="Empty: by mode")] = ""


def work(argv: Sequence[str]) -> int:
    """Ask the exchange for the alias, and bind.

    Raises:
        Refused: a setting cannot be used, or the host belongs to another mode.
        ExchangeError: the exchange did not say whose key this is.
        Unreadable: what stands in Redis is no binding.
        redis.exceptions.RedisError: Redis did not answer.
    """
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--mode", type=Mode, required=True)
    mode: Mode = parser.parse_args(argv).mode
    settings = load_settings(Settings, os.environ)
    url = settings.binance_futures_base_url or base_url(mode)
    try:
        check_host(mode, url)
    except ValueError as fault:
        raise Refused(f"BINANCE_FUTURES_BASE_URL: {fault}") from None
    redis = connect(settings, "set-account")
    before = account.decode(redis.hgetall(account.KEY))
    backoff = SharedBackoff(redis, control.BACKOFF_KEY, "set-account")
    client = SignedClient(
        url, settings.binance_api_key, settings.binance_api_secret, clock=SystemClock(), backoff=backoff
    )
    mine = AccountBinding(mode, account.host_of(url), client.account_alias())
    bound = account.bind(redis, mine)
    if bound != mine:
        print(
            f"{NAME}: refused: {account.KEY} says {_said(bound)}; this key pair is of {_said(mine)}. "
            "Another account or mode needs another REDIS_DB.",
            file=sys.stderr,
        )
        return REFUSED
    if before == mine:
        print(f"already bound to {_said(mine)}: nothing changed")
        return DONE
    print(f"bound to {_said(mine)}")
    changed(f"{account.KEY} set to {_said(mine)}")
    return DONE


def _said(binding: AccountBinding) -> str:
    return f"mode {binding.mode}, host {shown(binding.host)}, account {shown(binding.account)}"


if __name__ == "__main__":
    sys.exit(guarded(NAME, work, sys.argv[1:]))
