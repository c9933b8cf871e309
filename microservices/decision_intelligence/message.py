"""One entry of apply.result read: any bytes in any field end as a count or as a dead letter, never as an exception."""

import math
import re
from collections.abc import Callable

import msgspec

from microservices.contracts.decision import BUCKET_TTL_S, NO_REASON, UNKNOWN
from microservices.decision_intelligence import timestamps
from microservices.decision_intelligence.layout import ABSENT, Layouts, Raw
from microservices.decision_intelligence.reason_code import code_of, is_reason

FUTURE_MAX_S = 60
OLD_MIN_S = BUCKET_TTL_S
SYMBOL_MAX_CHARACTERS = 40
DETAILS_MAX_BYTES = 256 * 1024
_KNOWN_MAX = 4_096
_KNOWN_KEY_MAX_BYTES = 512
_KNOWN_MINUTES_MAX = 64
_NO_TIME = (math.inf, 0)
"""Further in the future than any that is believed."""
_YEAR_10000_MS = 253_402_300_800_000

_DECISIONS = {
    "EXECUTE": "EXECUTE",
    "EXECUTED": "EXECUTE",
    "EXEC": "EXECUTE",
    "SKIP": "SKIP",
    "SKIPPED": "SKIP",
    "BLOCK": "BLOCKED",
    "BLOCKED": "BLOCKED",
    "DENIED": "BLOCKED",
    "ERROR": "ERROR",
    "FAIL": "ERROR",
    "FAILED": "ERROR",
}
_NOT_A_LETTER = re.compile(r"\W")


class Counted(msgspec.Struct, frozen=True, cache_hash=True, gc=False):
    """What an entry counts as."""

    decision: str
    reason: str
    """A code, or `none`."""
    symbol: str
    """Upper-case letters and digits of any script; empty where the entry names none."""
    minute: int
    """Minutes since the epoch."""
    late: bool
    """Its own timestamp is too old to be counted under; the entry's id gave the minute."""


class DeadLetter(msgspec.Struct, frozen=True):
    """An entry that cannot be counted, and why."""

    reason: str


class _NotText(Exception):
    def __init__(self, field: str) -> None:
        self.field = field


Values = list[bytes]
"""An entry's names and values in turn, as Redis answers them."""

Read = Callable[[bytes, Values], Counted | DeadLetter]
"""Tells what an entry counts as, by its id and its names and values."""


class _Meaning:
    """What entries of the same fields count as, whenever they were made."""

    __slots__ = ("by_minute", "decision", "reason", "symbol")

    def __init__(self, decision: str, reason: str, symbol: str) -> None:
        self.decision = decision
        self.reason = reason
        self.symbol = symbol
        self.by_minute: dict[int, Counted] = {}
        """One object a minute, made once."""

    def at(self, minute: int, *, late: bool) -> Counted:
        """Give what such an entry of this minute counts as."""
        if late:
            return Counted(self.decision, self.reason, self.symbol, minute, late=True)
        found = self.by_minute.get(minute)
        if found is None:
            if len(self.by_minute) >= _KNOWN_MINUTES_MAX:
                self.by_minute.clear()
            found = self.by_minute[minute] = Counted(self.decision, self.reason, self.symbol, minute, late=False)
        return found


class Reader:
    """Reads entries, and remembers what it has read: a stream says the same few things over and over.

    Args:
        by_symbol: whether the symbol is counted; else it stays empty.
    """

    def __init__(self, *, by_symbol: bool = True) -> None:
        self._by_symbol = by_symbol
        self._layouts = Layouts()
        self._meanings: dict[Raw, _Meaning | DeadLetter] = {}
        self._times: dict[bytes | None, tuple[float, int]] = {}
        """Epoch seconds and minute of a timestamp's bytes."""

    def read(self, entry_id: bytes, values: Values, now_s: float) -> Counted | DeadLetter:
        """Tell what one entry counts as; see `at`."""
        return self.at(now_s)(entry_id, values)

    def at(self, now_s: float) -> Read:
        """Give the function that tells what an entry counts as, for a batch that is read at one time.

        It is called for every single message, tens of thousands of times a second: what is the same for all of them is
        looked up before, and no dictionary is made of an entry.

        Args:
            now_s: the time that timestamps are judged by, epoch seconds.

        Returns:
            A function of an entry's id in the stream, `milliseconds-sequence`, and its fields as they stand there.
        """
        known_meaning, known_time, layout_of = self._meanings.get, self._times.get, self._layouts.of
        oldest_s, newest_s = now_s - OLD_MIN_S, now_s + FUTURE_MAX_S
        names, pick, timestamp_at = layout_of([])

        def read(entry_id: bytes, values: Values) -> Counted | DeadLetter:
            nonlocal names, pick, timestamp_at
            if not values:
                return DeadLetter("no_fields")
            named = values[::2]
            if named != names:
                names, pick, timestamp_at = layout_of(named)
            filled = values + ABSENT
            raw = pick(filled)
            meaning = known_meaning(raw) or self._learnt(raw)
            if isinstance(meaning, DeadLetter):
                return meaning
            timestamp = filled[timestamp_at]
            at_s, minute = known_time(timestamp) or self._time(timestamp)
            if oldest_s <= at_s <= newest_s:
                return meaning.by_minute.get(minute) or meaning.at(minute, late=False)
            return meaning.at(_minute_of_id(entry_id, now_s), late=at_s < oldest_s)

        return read

    def _learnt(self, raw: Raw) -> _Meaning | DeadLetter:
        meaning = _meaning(raw, by_symbol=self._by_symbol)
        if sum(len(value) for value in raw if value is not None) <= _KNOWN_KEY_MAX_BYTES:
            if len(self._meanings) >= _KNOWN_MAX:
                self._meanings.clear()
            self._meanings[raw] = meaning
        return meaning

    def _time(self, raw: bytes | None) -> tuple[float, int]:
        at_s = None if raw is None else timestamps.epoch_s(raw)
        found = _NO_TIME if at_s is None else (at_s, int(at_s // 60))
        if raw is None or len(raw) <= _KNOWN_KEY_MAX_BYTES:
            if len(self._times) >= _KNOWN_MAX:
                self._times.clear()
            self._times[raw] = found
        return found


def _meaning(raw: Raw, *, by_symbol: bool) -> _Meaning | DeadLetter:
    decision, executed, error, reason, details, symbol = raw
    try:
        inner = _Details(details)
        code = _reason(error, inner, reason)
        word = _text(decision, "decision") or inner.text("decision")
        decided = _DECISIONS.get(word.upper(), UNKNOWN) if word else _by_execution(executed, code)
        named = (_text(symbol, "symbol") or inner.text("symbol")) if by_symbol else ""
    except _NotText as fault:
        return DeadLetter(f"{fault.field}_not_text")
    return _Meaning(decided, code, _symbol(named))


def _text(raw: bytes | None, field: str) -> str:
    try:
        return raw.decode().strip() if raw else ""
    except UnicodeDecodeError:
        raise _NotText(field) from None


def _reason(error: bytes | None, details: "_Details", reason: bytes | None) -> str:
    """Take the first that says anything; what stands further behind is not even looked at."""
    code = code_of(_text(error, "error")) or code_of(details.text("error"))
    return code or code_of(_text(reason, "reason")) or code_of(details.text("reason")) or NO_REASON


def _by_execution(executed: bytes | None, code: str) -> str:
    word = _text(executed, "executed").lower()
    if word == "true":
        return "EXECUTE"
    if word == "false":
        return "BLOCKED" if is_reason(code) else "SKIP"
    return UNKNOWN


def _symbol(named: str) -> str:
    return _NOT_A_LETTER.sub("_", named[:SYMBOL_MAX_CHARACTERS].upper()[:SYMBOL_MAX_CHARACTERS])


def _minute_of_id(entry_id: bytes, now_s: float) -> int:
    """Give the minute of a stream id; a made-up one beyond the calendar counts now."""
    milliseconds = int(entry_id.partition(b"-")[0])
    return milliseconds // 60_000 if milliseconds < _YEAR_10000_MS else int(now_s // 60)


class _Details:
    """The JSON object in the field `details`, parsed when it is first asked; what is no object has no members."""

    def __init__(self, raw: bytes | None) -> None:
        self._raw = raw
        self._members: dict[str, object] | None = None

    def text(self, name: str) -> str:
        """Give a member as text; empty where it is absent, null or false."""
        if not self._raw:
            return ""
        if self._members is None:
            self._members = _json_object(_text(self._raw, "details"))
        value = self._members.get(name)
        if value is None or value is False:
            return ""
        if isinstance(value, str):
            return value.strip()
        return msgspec.json.encode(value).decode()


def _json_object(text: str) -> dict[str, object]:
    if len(text) > DETAILS_MAX_BYTES or not text.startswith("{"):
        return {}
    try:
        return msgspec.json.decode(text, type=dict[str, object])
    except (msgspec.DecodeError, RecursionError):
        return {}
