"""How single values stand in Redis: text, decimals, booleans, epochs; and the error for what is none of these."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal, localcontext
from typing import Any, TypeVar

import msgspec

_UNSIGNED = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?", re.ASCII)
_SIGNED = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?", re.ASCII)
_INTEGER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_STREAM_ID = re.compile(r"[0-9]{1,20}-[0-9]{1,20}", re.ASCII)
_SHOWN_CHARACTERS = 80
_DIGITS = 100
"""A permit's quantity has at most 41 digits, any other value 20 before and 20 behind the point: nothing is rounded."""

S = TypeVar("S", bound=msgspec.Struct)

RawHash = Mapping[Any, Any]
"""A hash or the fields of a stream entry as redis-py answers them: bytes to bytes."""

WrittenFields = dict[Any, Any]
"""The fields of a hash or stream entry as redis-py takes them: text to text, typed as its invariant parameters need."""


class Unreadable(ValueError):
    """Something is there that cannot be read as its contract says. The reader treats it as absent and names it."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}")
        self.what = what
        self.why = why


def shown(raw: object) -> str:
    """Quote a value for a message: one line, bounded, whatever it contains."""
    text = raw.decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else str(raw)
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…")


def text(raw: object, what: str) -> str:
    """Read text: UTF-8 bytes as Redis gives them.

    Raises:
        Unreadable: not bytes or text, or not UTF-8.
    """
    if isinstance(raw, str):
        return raw
    if not isinstance(raw, bytes):
        raise Unreadable(what, f"is a {type(raw).__name__}, not text")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Unreadable(what, f"is not UTF-8: {shown(raw)}") from None


def hash_text(raw: RawHash, what: str) -> dict[str, str]:
    """Read all fields of a hash or stream entry as text.

    Raises:
        Unreadable: a name or value is not UTF-8.
    """
    fields = {}
    for raw_name, raw_value in raw.items():
        name = text(raw_name, f"{what} field name")
        fields[name] = text(raw_value, f"{what} {name}")
    return fields


def required(fields: Mapping[str, str], name: str, what: str) -> str:
    """Return a field that must be there and not empty.

    Raises:
        Unreadable: it is missing or empty.
    """
    value = fields.get(name, "")
    if not value:
        raise Unreadable(what, f"{name} is missing")
    return value


def matching(value: str, pattern: re.Pattern[str], what: str) -> str:
    """Return the value if the whole of it fits the pattern.

    Raises:
        Unreadable: it does not.
    """
    if not pattern.fullmatch(value):
        raise Unreadable(what, f"is {shown(value)}, expected {pattern.pattern}")
    return value


def unsigned_text(value: str, what: str) -> str:
    """Return decimal text as it is: up to 20 digits, up to 20 decimals, no sign, no exponent.

    Raises:
        Unreadable: anything else, NaN and Infinity included.
    """
    return matching(value, _UNSIGNED, what)


def unsigned_decimal(value: str, what: str) -> Decimal:
    """Read a quantity or price written as `unsigned_text` allows.

    Raises:
        Unreadable: anything else.
    """
    return Decimal(unsigned_text(value, what))


def signed_decimal(value: str, what: str) -> Decimal:
    """Read a signed quantity, written like `unsigned_decimal` with an optional minus.

    Raises:
        Unreadable: anything else.
    """
    return Decimal(matching(value, _SIGNED, what))


@contextmanager
def exact() -> Iterator[None]:
    """Calculate with enough digits that sums, products and floors of quantities and prices are exact."""
    with localcontext(prec=_DIGITS):
        yield


def integer(value: str, what: str) -> int:
    """Read a whole number of at most 18 digits.

    Raises:
        Unreadable: anything else.
    """
    return int(matching(value, _INTEGER, what))


def boolean(value: str, what: str) -> bool:
    """Read `true` or `false`.

    Raises:
        Unreadable: any other word, other capitals included.
    """
    if value not in ("true", "false"):
        raise Unreadable(what, f"is {shown(value)}, expected true or false")
    return value == "true"


def bool_text(value: bool) -> str:  # noqa: FBT001 - the value is the whole argument
    """Write a boolean."""
    return "true" if value else "false"


def plain(value: Decimal) -> str:
    """Write a decimal without exponent, trailing zeros or a minus before zero."""
    if value.is_zero():
        return "0"
    digits = format(value, "f")
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def codes(joined: str) -> tuple[str, ...]:
    """Split a comma-separated list, without blanks and empty parts."""
    return tuple(part for part in (piece.strip() for piece in joined.split(",")) if part)


def joined(parts: Iterable[str]) -> str:
    """Write a comma-separated list."""
    return ",".join(parts)


def from_json(raw: object, kind: type[S], what: str) -> S:
    """Read a JSON document into the given contract type.

    Raises:
        Unreadable: not text, not JSON (NaN and Infinity included), or not of that shape.
    """
    try:
        return msgspec.json.decode(text(raw, what), type=kind)
    except msgspec.DecodeError as error:
        raise Unreadable(what, str(error)) from None


def stream_id(value: str, what: str) -> tuple[int, int]:
    """Read a stream entry id as two numbers, so that ids compare as Redis compares them.

    Raises:
        Unreadable: not of the form milliseconds-sequence.
    """
    matching(value, _STREAM_ID, what)
    milliseconds, _, sequence = value.partition("-")
    return int(milliseconds), int(sequence)
