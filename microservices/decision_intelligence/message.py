"""One entry of apply.result read: any bytes in any field end as a count or as a dead letter, never as an exception."""

import re
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from microservices.contracts.decision import BUCKET_TTL_S, NO_REASON, UNKNOWN
from microservices.decision_intelligence import timestamps
from microservices.decision_intelligence.reason_code import code_of, is_reason

FUTURE_MAX_S = 60
OLD_MIN_S = BUCKET_TTL_S
SYMBOL_MAX_CHARACTERS = 40
DETAILS_MAX_BYTES = 256 * 1024
_KNOWN_MAX = 4_096
_KNOWN_KEY_MAX_BYTES = 512
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


class Counted(NamedTuple):
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


class DeadLetter(NamedTuple):
    """An entry that cannot be counted, and why."""

    reason: str


class _Meaning(NamedTuple):
    decision: str
    reason: str
    symbol: str


class _NotText(Exception):
    def __init__(self, field: str) -> None:
        self.field = field


_Raw = tuple[bytes | None, bytes | None, bytes | None, bytes | None, bytes | None, bytes | None]
"""The fields decision, executed, error, reason, details and symbol."""


class Reader:
    """Reads entries, and remembers what it has read: a stream says the same few things over and over.

    Args:
        by_symbol: whether the symbol is counted; else it stays empty.
    """

    def __init__(self, *, by_symbol: bool = True) -> None:
        self._by_symbol = by_symbol
        self._meanings: dict[_Raw, _Meaning | DeadLetter] = {}
        self._times: dict[bytes, float | None] = {}

    def read(self, entry_id: str, fields: Mapping[bytes, bytes], now_s: float) -> Counted | DeadLetter:
        """Tell what an entry counts as.

        Args:
            entry_id: its id in the stream, `milliseconds-sequence`.
            fields: as they stand in the stream.
            now_s: the time that its timestamp is judged by, epoch seconds.
        """
        if not fields:
            return DeadLetter("no_fields")
        get = fields.get
        raw = (get(b"decision"), get(b"executed"), get(b"error"), get(b"reason"), get(b"details"), get(b"symbol"))
        meaning = self._meanings.get(raw) or self._learnt(raw)
        if isinstance(meaning, DeadLetter):
            return meaning
        at_s = self._time(get(b"timestamp"))
        if at_s is not None and now_s - OLD_MIN_S <= at_s <= now_s + FUTURE_MAX_S:
            return Counted(*meaning, int(at_s // 60), late=False)
        return Counted(*meaning, _minute_of_id(entry_id, now_s), late=at_s is not None and at_s < now_s - OLD_MIN_S)

    def _learnt(self, raw: _Raw) -> _Meaning | DeadLetter:
        meaning = _meaning(raw, by_symbol=self._by_symbol)
        if sum(len(value) for value in raw if value is not None) <= _KNOWN_KEY_MAX_BYTES:
            if len(self._meanings) >= _KNOWN_MAX:
                self._meanings.clear()
            self._meanings[raw] = meaning
        return meaning

    def _time(self, raw: bytes | None) -> float | None:
        if raw is None:
            return None
        try:
            return self._times[raw]
        except KeyError:
            at_s = timestamps.epoch_s(raw)
        if len(raw) <= _KNOWN_KEY_MAX_BYTES:
            if len(self._times) >= _KNOWN_MAX:
                self._times.clear()
            self._times[raw] = at_s
        return at_s


def _meaning(raw: _Raw, *, by_symbol: bool) -> _Meaning | DeadLetter:
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


def _minute_of_id(entry_id: str, now_s: float) -> int:
    """Give the minute of a stream id; a made-up one beyond the calendar counts now."""
    milliseconds = int(entry_id.partition("-")[0])
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
