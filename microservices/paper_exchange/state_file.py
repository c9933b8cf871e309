"""What survives a restart: wallet, positions, orders, and where the recorded candles were placed in time."""

import base64
import hashlib
import os
from decimal import Decimal
from pathlib import Path

import msgspec

from microservices.paper_exchange.account import Position
from microservices.paper_exchange.orders import FIRST_ORDER_ID, Order

VERSION = 1


class BadStateFile(ValueError):
    """The state file is there and cannot be used; the text is one line that names it."""


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The account as it is saved. Decimals are text in the file; `anchor_minute` is minutes since the epoch."""

    version: int = VERSION
    alias: str
    anchor_minute: int
    wallet: Decimal
    next_order_id: int = FIRST_ORDER_ID
    positions: dict[str, Position] = {}
    orders: list[Order] = []


def load_state(path: Path) -> State | None:
    """Read the state; None where there is no file yet.

    Raises:
        BadStateFile: unreadable, not JSON, not of this form or version. A guess would be another account.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadStateFile(f"{path}: {error.strerror}") from None
    try:
        state = msgspec.json.decode(raw, type=State)
    except msgspec.DecodeError as error:
        raise BadStateFile(f"{path}: not a state of the paper exchange: {error}") from None
    if state.version != VERSION:
        raise BadStateFile(f"{path}: version {state.version}, expected {VERSION}")
    return state


def save_state(path: Path, state: State) -> None:
    """Replace the file in one step, so that it is whole at any moment that the process may die.

    Raises:
        OSError: the file cannot be written.
    """
    draft = path.with_name(path.name + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(state))
    draft.replace(path)


def alias_of(api_key: str) -> str:
    """Name a new account after the key it began with; it keeps the name when the key changes."""
    return base64.b32encode(hashlib.sha256(api_key.encode()).digest())[:12].decode()
