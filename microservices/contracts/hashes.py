"""One codec between a typed struct and the text fields of a hash or stream entry, driven by the struct's types."""

import math
import types
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Any, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from microservices.contracts.fields import (
    RawHash,
    Unreadable,
    WrittenFields,
    bool_text,
    boolean,
    codes,
    hash_text,
    integer,
    joined,
    plain,
    shown,
    signed_decimal,
)

S = TypeVar("S", bound=msgspec.Struct)


class _Field(NamedTuple):
    """One field of a struct: its name there and in Redis, its type, and whether it must be there."""

    name: str
    redis_name: str
    kind: Any
    required: bool


def encode(struct: msgspec.Struct) -> WrittenFields:
    """Write a struct as text fields; a field that is None is left out."""
    fields: WrittenFields = {}
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        if value is not None:
            fields[_redis_name(struct, name)] = _write(value)
    return fields


def decode(raw: RawHash, kind: type[S], what: str) -> S:
    """Read text fields into a struct: a field without a default must be there, others may be absent or empty.

    Fields that the struct does not name are ignored: adding a field to the schema is allowed.

    Raises:
        Unreadable: a field is missing, not UTF-8, or not of its type.
    """
    return from_text(hash_text(raw, what), kind, what)


def decode_or_absent(raw: RawHash, kind: type[S], what: str) -> S | None:
    """Read a hash as `decode` does; the empty answer of HGETALL is absence.

    Raises:
        Unreadable: it is there and not as its type says.
    """
    return decode(raw, kind, what) if raw else None


def from_text(fields: dict[str, str], kind: type[S], what: str) -> S:
    """Read fields that are text already, as `decode` does.

    Raises:
        Unreadable: a field is missing or not of its type.
    """
    values = {}
    for field in _fields(kind):
        given = fields.get(field.redis_name, "")
        if given:
            values[field.name] = _read(given, field.kind, f"{what} {field.redis_name}")
        elif field.required:
            raise Unreadable(what, f"{field.redis_name} is missing")
    return kind(**values)


@cache
def _fields(kind: type[msgspec.Struct]) -> tuple[_Field, ...]:
    """Look a struct over once: every row of every poll is read by what is found."""
    hints = get_type_hints(kind)
    return tuple(
        _Field(field.name, field.encode_name, hints[field.name], field.required)
        for field in msgspec.structs.fields(kind)
    )


def _redis_name(struct: msgspec.Struct, name: str) -> str:
    return struct.__struct_encode_fields__[struct.__struct_fields__.index(name)]


def _write(value: object) -> str:
    if isinstance(value, bool):
        return bool_text(value)
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, tuple):
        return joined(value)
    return str(value.value) if isinstance(value, Enum) else str(value)


def _read(given: str, kind: Any, what: str) -> Any:  # noqa: ANN401 - an annotation in, a value of that type out
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(part for part in get_args(kind) if part is not type(None))
    if get_origin(kind) is tuple:
        return codes(given)
    if issubclass(kind, Enum):
        return _member(given, kind, what)
    return _READERS[kind](given, what)


def _member(given: str, kind: type[Enum], what: str) -> Enum:
    try:
        return kind(given)
    except ValueError:
        allowed = ", ".join(str(member.value) for member in kind)
        raise Unreadable(what, f"is {shown(given)}, expected one of {allowed}") from None


def _finite(given: str, what: str) -> float:
    try:
        value = float(given)
    except ValueError:
        raise Unreadable(what, f"is {shown(given)}, expected a number") from None
    if not math.isfinite(value):
        raise Unreadable(what, f"is {shown(given)}, expected a finite number")
    return value


def _same(given: str, _what: str) -> str:
    return given


_READERS: dict[type, Callable[[str, str], Any]] = {
    str: _same,
    bool: boolean,
    int: integer,
    float: _finite,
    Decimal: signed_decimal,
}
