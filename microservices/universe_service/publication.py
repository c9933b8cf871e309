"""What may be published when: the states at start, the shrink guard, and which instruments stay."""

import re
from collections.abc import Mapping
from enum import Enum

import msgspec

from microservices.contracts import universe
from microservices.contracts.control import Mode
from microservices.contracts.fields import RawHash, Unreadable, WrittenFields
from microservices.contracts.universe import Instrument, UniverseDocument, UniverseMeta

NO_LIST = "no_list"
BOOTSTRAPPED = "bootstrapped_from_last_ok"
AWAITING = "awaiting_first_fetch"

SHRINK_ACCEPTED_AFTER_S = 15 * 60
"""How long a much shorter list has to stay the same before it is believed: a real mass delisting stays."""

INSTRUMENT_KEPT_S = 7 * 24 * 3600
"""How long an instrument outlives its last appearance, so that a position in it can still be closed."""

ERROR_MAX_CHARACTERS = 500


class Stored(msgspec.Struct, frozen=True):
    """The three keys as they stand; a document is None where it is missing, and a sentence where it is unreadable."""

    active: UniverseDocument | str | None
    last_ok: UniverseDocument | str | None
    meta: UniverseMeta | None
    """None where it is missing or unreadable."""

    def last_good(self, mode: Mode) -> UniverseDocument | None:
        """Return the last good list if it is of this mode."""
        if isinstance(self.last_ok, UniverseDocument) and self.last_ok.mode is mode:
            return self.last_ok
        return None

    def holds_other_mode(self, mode: Mode) -> bool:
        """Tell whether anything here is known to be of another mode; its instruments are then another exchange's."""
        documents = [each for each in (self.active, self.last_ok) if isinstance(each, UniverseDocument)]
        modes = {document.mode.value for document in documents} | {self.meta.mode if self.meta else ""}
        return bool(modes - {mode.value, ""})


class Active(Enum):
    """What becomes of `active` at start."""

    KEEP = "keep"
    COPY_LAST_OK = "copy_last_ok"
    DELETE = "delete"


class Start(msgspec.Struct, frozen=True):
    """What is written at start, in one transaction."""

    active: Active
    meta: UniverseMeta
    drop_instruments: bool
    """The instruments are another mode's: a rule of another exchange is worse than none."""


def at_start(stored: Stored, mode: Mode) -> Start:
    """Decide what a service that starts in this mode makes of what it finds; it never makes an old list look fresh."""
    last_good = stored.last_good(mode)
    drop = stored.holds_other_mode(mode)
    if isinstance(stored.active, UniverseDocument) and stored.active.mode is mode:
        return Start(Active.KEEP, _stale_meta(stored, mode, stored.active, AWAITING), drop_instruments=False)
    if last_good is not None:
        return Start(Active.COPY_LAST_OK, _stale_meta(stored, mode, last_good, BOOTSTRAPPED), drop_instruments=drop)
    error = bounded(NO_LIST, _why_not_copied(stored))
    return Start(Active.DELETE, _stale_meta(stored, mode, None, error), drop_instruments=drop)


def _stale_meta(stored: Stored, mode: Mode, active: UniverseDocument | None, error: str) -> UniverseMeta:
    """Describe `active` anew, so that a meta hash that was lost or edited agrees with it again."""
    last_good = stored.last_good(mode)
    return UniverseMeta(
        asof_epoch=active.asof_epoch if active else 0,
        last_ok_epoch=last_good.asof_epoch if last_good else 0,
        count=len(active.symbols) if active else 0,
        stale=1,
        error=error,
        mode=mode,
        dropped=stored.meta.dropped if stored.meta and active else 0,
        last_attempt_epoch=stored.meta.last_attempt_epoch if stored.meta else 0,
    )


def _why_not_copied(stored: Stored) -> str:
    if stored.last_ok is None:
        return ""
    if isinstance(stored.last_ok, UniverseDocument):
        return f"last_ok is of mode {stored.last_ok.mode} and was not copied"
    return f"last_ok was not copied, {stored.last_ok}"


def bounded(*parts: str) -> str:
    """Join what `error` has to say to one line of bounded length; the code, where there is one, comes first."""
    line = ": ".join(" ".join(part.split()) for part in parts if part)
    return line if len(line) <= ERROR_MAX_CHARACTERS else line[: ERROR_MAX_CHARACTERS - 1] + "…"


class ShrinkGuard:
    """Refuse a list that has lost most of the last good one, until it has stayed the same for long enough.

    Args:
        min_ratio: the share of the last good list that a new one must have; 0 switches the guard off.
        pattern: the pattern in force; the last good list counts only as far as it fits, so that a narrowed pattern
            is not taken for a mass delisting.
    """

    def __init__(self, min_ratio: float, pattern: re.Pattern[str]) -> None:
        self._min_ratio = min_ratio
        self._pattern = pattern
        self._waiting: tuple[str, ...] = ()
        self._since_s = 0.0

    def refusal(self, symbols: tuple[str, ...], last_good: UniverseDocument | None, monotonic_s: float) -> str:
        """Say why this list may not be published yet; empty where it may."""
        before = sum(1 for symbol in last_good.symbols if self._pattern.fullmatch(symbol)) if last_good else 0
        if len(symbols) >= self._min_ratio * before:
            self._waiting = ()
            return ""
        if symbols != self._waiting:
            self._waiting, self._since_s = symbols, monotonic_s
        unchanged_s = monotonic_s - self._since_s
        if unchanged_s >= SHRINK_ACCEPTED_AFTER_S:
            return ""
        return (
            f"{len(symbols)} symbols are fewer than {self._min_ratio:g} of the last good list's {before}; "
            f"UNIVERSE_MIN_RATIO=0 accepts them, or {SHRINK_ACCEPTED_AFTER_S // 60} minutes without a change "
            f"({unchanged_s // 60:.0f} so far)"
        )

    @property
    def has_waited(self) -> bool:
        """Whether the list let through last was a reduced one that had waited."""
        return bool(self._waiting)

    def published(self) -> None:
        """Forget the list that was waited for: it is the last good one now."""
        self._waiting = ()


def merged_instruments(
    stored: RawHash, seen: Mapping[str, Instrument], now_epoch: int
) -> tuple[WrittenFields, tuple[str, ...]]:
    """Put the rules that were seen now over the stored ones, and drop those that were not seen for seven days.

    Args:
        stored: the hash as it stands.
        seen: every perpetual of the answer.
        now_epoch: the answer's epoch, seconds.

    Returns:
        The whole new hash, and the names of the rows that left it, unreadable ones with the reason.
    """
    merged: WrittenFields = {symbol.encode(): universe.encode_instrument(rules) for symbol, rules in seen.items()}
    left = []
    for name, raw in stored.items():
        if name in merged:
            continue
        symbol = name.decode("utf-8", "backslashreplace")
        try:
            unseen_s = now_epoch - universe.decode_instrument(raw, symbol).seen_epoch
        except Unreadable as fault:
            left.append(str(fault))
            continue
        if unseen_s > INSTRUMENT_KEPT_S:
            left.append(symbol)
        else:
            merged[name] = raw
    return merged, tuple(left)
