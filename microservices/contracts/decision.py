"""Decision intelligence: buckets per minute, rolling windows, status and dead letters."""

from datetime import UTC, datetime
from enum import StrEnum

import msgspec

from microservices.contracts import hashes
from microservices.contracts.fields import RawHash

STATUS_KEY = "quantum:p35:status"
BUCKET_PREFIX = "quantum:p35:bucket:"
DEAD_LETTER_STREAM = "quantum:p35:dead_letter"
DEAD_LETTER_MAXLEN = 10_000
BUCKET_TTL_S = 48 * 3600
WINDOW_TTL_S = 24 * 3600
INDEX_TTL_S = 7 * 24 * 3600
"""As long as the streams are kept at most."""
TOP_MAX = 50
SYMBOLS_MAX = 400
SYMBOL_TOP_MAX = 10
OTHER = "__other__"
UNKNOWN = "UNKNOWN"
COUNTED_DECISIONS = ("EXECUTE", "SKIP", "BLOCKED", "ERROR")
"""Always present in a window, 0 included."""
NO_REASON = "none"
HEARTBEAT_S = 10


class Window(StrEnum):
    """A rolling window: the current UTC minute and those before it."""

    M1 = "1m"
    M5 = "5m"
    M15 = "15m"
    H1 = "1h"

    @property
    def minutes(self) -> int:
        """How many minutes it spans."""
        return _MINUTES[self]


_MINUTES = {Window.M1: 1, Window.M5: 5, Window.M15: 15, Window.H1: 60}


class P35Status(msgspec.Struct, frozen=True):
    """What the status hash says, added up over instances; identity and heartbeat are the last writer's."""

    processed_total: int = 0
    pending_estimate: int = 0
    last_ts: int = 0
    last_id: str = ""
    consumer_name: str = ""
    service_start_ts: int = 0
    snapshot_ts: int = 0
    dead_letter_total: int = 0
    late_total: int = 0
    lost_total: int = 0
    lag: int = 0
    repeated_total: int = 0
    """Deliveries of what had been counted before (a group set back by hand): acked, not counted."""
    entries_base: int | None = None
    """The stream's entries-added that the totals start behind: base + counted + dead letters + lost + open = added."""
    stream_added: int = 0
    """The stream's entries-added when it was last looked at."""
    stream_last_id: str = ""
    """The stream's last generated id when it was last looked at."""
    settled_through: str = ""
    """Everything up to this id was counted, put aside or lost, and is never counted again."""


def bucket_key(minute: int) -> str:
    """Name the bucket of a minute, counted in minutes since the epoch."""
    return f"{BUCKET_PREFIX}{datetime.fromtimestamp(minute * 60, UTC):%Y%m%d%H%M}"


def index_key(minute: int) -> str:
    """Name the index of the results whose ids are of a minute, counted in minutes since the epoch."""
    return f"quantum:p35:index:{minute}"


def counts_key(window: Window) -> str:
    """Name the decision counts of a window."""
    return f"quantum:p35:decision:counts:{window}"


def reasons_key(window: Window) -> str:
    """Name the top reasons of a window."""
    return f"quantum:p35:reason:top:{window}"


def symbol_reasons_key(window: Window) -> str:
    """Name the top reasons by symbol of a window."""
    return f"quantum:p35:symbol_reason:top:{window}"


def by_symbol_key(window: Window) -> str:
    """Name the hash of a window's reasons of each symbol: symbol to a JSON object, reason to count."""
    return f"quantum:p35:symbol:top:{window}"


def trend_key(window: Window) -> str:
    """Name the hash of how a window differs from the one before it: a bucket's field to a signed count."""
    return f"quantum:p35:trend:{window}"


def window_keys(window: Window) -> tuple[str, ...]:
    """Name all keys of a window, which are replaced together."""
    lists = (counts_key(window), reasons_key(window), symbol_reasons_key(window))
    return (*lists, by_symbol_key(window), trend_key(window))


def decision_field(decision: str) -> str:
    """Name a decision's count inside a bucket."""
    return f"decision:{decision}"


def reason_field(reason: str) -> str:
    """Name a reason's count inside a bucket."""
    return f"reason:{reason}"


def symbol_reason_field(symbol: str, reason: str) -> str:
    """Name a symbol's count of a reason inside a bucket."""
    return f"symbol_reason:{symbol}:{reason}"


def decode_status(raw: RawHash) -> P35Status | None:
    """Read the status hash; an empty answer is absence.

    Raises:
        Unreadable: it is there and not as the schema says.
    """
    return hashes.decode_or_absent(raw, P35Status, STATUS_KEY)
