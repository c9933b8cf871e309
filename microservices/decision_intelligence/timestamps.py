"""The six ways in which results say when they were made, read as epoch seconds."""

import re
from datetime import UTC, datetime

_NUMBER = re.compile(r"[0-9]{1,20}(\.[0-9]{1,9})?", re.ASCII)
MILLISECONDS_FROM = 1e11
"""As seconds this is the year 5138, as milliseconds 1973: nothing in between is meant as either."""
MICROSECONDS_FROM = 1e14
UNUSABLE_FROM = 1e17
_LONGEST_BYTES = 64
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def epoch_s(raw: bytes) -> float | None:
    """Read a timestamp field: epoch seconds, milliseconds or microseconds, or ISO 8601 (without a zone: UTC).

    Args:
        raw: the field as it stands in the stream, any bytes.

    Returns:
        Epoch seconds, or None where it is none of these.
    """
    if len(raw) > _LONGEST_BYTES:
        return None
    try:
        text = raw.decode("ascii").strip()
    except UnicodeDecodeError:
        return None
    return _of_number(float(text)) if _NUMBER.fullmatch(text) else _of_iso(text)


def _of_number(value: float) -> float | None:
    if value < MILLISECONDS_FROM:
        return value
    if value < MICROSECONDS_FROM:
        return value / 1e3
    return value / 1e6 if value < UNUSABLE_FROM else None


def _of_iso(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
        return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH).total_seconds()
    except (ValueError, OverflowError):
        return None
