"""A daemon's settings: read once from the environment, refused with one line where they are wrong.

A service declares a frozen struct; each field is the variable of the same name in capitals:

    class Settings(CommonSettings, frozen=True, kw_only=True):
        universe_refresh_sec: Annotated[float, Meta(ge=10, description="Seconds between two fetches")] = 60.0
"""

import difflib
import logging
import math
import re
import types
import typing
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from enum import Enum, StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta
from msgspec import inspect as inspection

from microservices.runtime.errors import Refused
from microservices.runtime.log import printable

logger = logging.getLogger(__name__)

EXIT_CODE: Final = 78  # EX_CONFIG of sysexits.h: systemd shows it by name
MASK: Final = "***"
CREDENTIALS: Final = "CREDENTIALS_DIRECTORY"
TYPO_LIKENESS: Final = 0.8  # difflib's ratio; one or two wrong letters of an ordinary name
WORD_LIKENESS: Final = 0.5  # below it a word is another word, and its name another service's: WS is no misspelt BASE
_IN_URL: Final = re.compile(r"(?<=://).*@|(?<=password=)[^&\s]*")

S = TypeVar("S", bound="CommonSettings")


class Secret:
    """A text that is never shown: only `reveal` gives it."""

    __slots__ = ("_value",)

    def __init__(self, value: str = "") -> None:
        self._value = value

    def reveal(self) -> str:
        """Give the text itself, to the one place that needs it."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return MASK if self._value else ""

    __str__ = __repr__


class LogLevel(StrEnum):
    """The least level that is logged."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class SettingError(Refused):
    """A setting that cannot be used; its text is one line: `NAME='value': allowed is …`.

    Args:
        name: the environment variable.
        value: what it was; a `Secret` and the password in a URL are masked.
        allowed: what is allowed, in plain words.
    """

    def __init__(self, name: str, value: object, allowed: str) -> None:
        self.name = name
        self.allowed = allowed
        super().__init__(f"{name}='{shown(value)}': allowed is {allowed}")


class CommonSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What every daemon can be told. `metrics_port` is overridden by a service that has one."""

    redis_url: Annotated[
        str,
        Meta(
            description="Redis as one URL; wins over host, port and db: redis://host:port/db, rediss://…, unix:///path,"
            " redis+sentinel://host:port,host:port/service/db"
        ),
    ] = ""
    redis_host: Annotated[str, Meta(min_length=1)] = "127.0.0.1"
    redis_port: Annotated[int, Meta(ge=1, le=65535)] = 6379
    redis_db: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    redis_username: str = ""
    redis_password: Secret = Secret()
    redis_password_file: Annotated[Path | None, Meta(description="File that holds the password")] = None
    log_level: LogLevel = LogLevel.INFO

    @property
    def metrics_port(self) -> int | None:
        """Port of the metrics on 127.0.0.1; None or 0 is none."""
        return None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({' '.join(settings_lines(self))})"


def load_settings(settings_type: type[S], environ: Mapping[str, str]) -> S:
    """Read every field of `settings_type` from the environment.

    An empty variable is an unset one. A `Secret` is read from the file of its variable's name in
    CREDENTIALS_DIRECTORY, else from the environment. A variable that looks like a misspelt one is warned of.

    Raises:
        SettingError: a value is not allowed, or one without a default is missing.
    """
    hints = typing.get_type_hints(settings_type, include_extras=True)
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(settings_type):
        name = field.name.upper()
        text = _text_of(name, hints[field.name], environ)
        if text:
            values[field.name] = convert(name, text, hints[field.name])
        elif field.required:
            raise SettingError(name, "", allowed_text(hints[field.name]))
    settings = settings_type(**values)
    known = [field.name.upper() for field in msgspec.structs.fields(settings_type)]
    for typo, meant in likely_typos(environ, known):
        logger.warning("%s is not a setting of this service: did you mean %s?", typo, meant)
    return settings


def convert(name: str, text: str, annotation: object) -> object:
    """Convert one variable's text to the type of its field.

    Raises:
        SettingError: it is not allowed; the text of a secret is not in the message.
    """
    bare = _bare(annotation)
    if bare is Secret:
        return Secret(text)
    try:
        value = _converted(text.strip(), annotation, bare)
    except (msgspec.ValidationError, InvalidOperation, ValueError):
        raise SettingError(name, text, allowed_text(annotation)) from None
    return value


def allowed_text(annotation: object) -> str:
    """Say in plain words what a field of this type allows."""
    bare = _bare(annotation)
    if bare in _PLAIN:
        return _PLAIN[bare]
    info = inspection.type_info(_without_none(annotation))
    while isinstance(info, inspection.Metadata):
        info = info.type
    if isinstance(info, inspection.VarTupleType):
        item = typing.get_args(bare)[0]
        least = f" of at least {info.min_length}" if info.min_length else ""
        return f"a comma-separated list{least}, each of it {allowed_text(item)}"
    if isinstance(info, inspection.EnumType):
        return f"one of: {', '.join(str(member.value) for member in info.cls)}"
    if isinstance(info, inspection.IntType | inspection.FloatType):
        kind = "a whole number" if isinstance(info, inspection.IntType) else "a finite number"
        return kind + _bounds(info)
    if isinstance(info, inspection.StrType):
        return _text_allowed(info)
    raise TypeError(f"a setting cannot have the type {annotation}")


def shown(value: object) -> str:
    """Write a value as a person would write it into the environment, secrets and passwords in URLs masked."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, tuple):
        return ",".join(shown(item) for item in value)
    return printable(_IN_URL.sub(lambda found: MASK + ("@" if found[0].endswith("@") else ""), str(value)))


def settings_lines(settings: CommonSettings) -> list[str]:
    """List the settings as sorted NAME=value lines, secrets masked."""
    names = [field.name for field in msgspec.structs.fields(settings)]
    return sorted(f"{name.upper()}={shown(getattr(settings, name))}" for name in names)


def settings_help(settings_type: type[CommonSettings]) -> list[str]:
    """Describe every variable in one line: name, default, what is allowed, and its description where it has one."""
    hints = typing.get_type_hints(settings_type, include_extras=True)
    return sorted(_help_line(field, hints[field.name]) for field in msgspec.structs.fields(settings_type))


def likely_typos(environ: Iterable[str], known: Iterable[str]) -> list[tuple[str, str]]:
    """Find variables that no setting has, but that look like one: same word before the first `_`, nearly same name.

    A name with another word in it is none: services may share an environment, each with settings of its own.
    """
    names = set(known)
    prefixes = {name.partition("_")[0] for name in names}
    suspects = (name for name in sorted(environ) if name not in names and name.partition("_")[0] in prefixes)
    pairs = ((name, difflib.get_close_matches(name, sorted(names), n=1, cutoff=TYPO_LIKENESS)) for name in suspects)
    return [(name, matches[0]) for name, matches in pairs if matches and not _has_another_word(name, matches[0])]


_PLAIN: Final = {
    bool: "one of: true, false, 1, 0",
    Decimal: "a finite decimal number",
    Path: "the path of a file or directory",
    Secret: "any text (a secret)",
}


def _has_another_word(name: str, meant: str) -> bool:
    """Whether both have as many words, and one of them is not even alike."""
    words, others = name.split("_"), meant.split("_")
    alike = (difflib.SequenceMatcher(None, *pair).ratio() for pair in zip(words, others, strict=False))
    return len(words) == len(others) and min(alike) < WORD_LIKENESS


def _help_line(field: msgspec.structs.FieldInfo, annotation: object) -> str:
    default = "required" if field.required else f"default {shown(field.default) or 'empty'}"
    metas = typing.get_args(annotation)[1:] if typing.get_origin(annotation) is Annotated else ()
    said = [meta.description for meta in metas if isinstance(meta, Meta) and meta.description]
    return f"{field.name.upper()} ({default}): {'; '.join([*said, allowed_text(annotation)])}"


def _text_of(name: str, annotation: object, environ: Mapping[str, str]) -> str:
    if _bare(annotation) is not Secret:
        return environ.get(name, "").strip()
    if directory := environ.get(CREDENTIALS, ""):
        path = Path(directory) / name
        try:
            return path.read_text(encoding="utf-8").rstrip("\r\n")
        except FileNotFoundError:
            pass
        except (OSError, UnicodeDecodeError):
            raise SettingError(name, Secret("file"), f"a text file that this user can read at {path}") from None
    return environ.get(name, "")


def _converted(text: str, annotation: object, bare: object) -> object:
    if bare is Path:
        return Path(text)
    wanted = _without_none(annotation)
    if typing.get_origin(bare) is tuple:
        items = [item.strip() for item in text.split(",") if item.strip()]
        return msgspec.convert(items, wanted, strict=False)
    value = msgspec.convert(text, wanted, strict=False)
    if isinstance(value, Decimal) and not (text.isascii() and "_" not in text):
        raise ValueError("digits that only Python reads")
    if isinstance(value, float | Decimal) and not math.isfinite(value):
        raise ValueError("not finite")
    return value


def _without_none(annotation: object) -> object:
    """Take `None` out of a union, bounds kept: no text means None, an empty variable does."""
    if typing.get_origin(annotation) is Annotated:
        inner, *metas = typing.get_args(annotation)
        return Annotated[(_without_none(inner), *metas)]
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        kept = [item for item in typing.get_args(annotation) if item is not types.NoneType]
        if len(kept) == 1:
            return kept[0]
    return annotation


def _bare(annotation: object) -> object:
    """Give the type itself, without bounds and without `None`."""
    annotation = _without_none(annotation)
    while typing.get_origin(annotation) is Annotated:
        annotation = _without_none(typing.get_args(annotation)[0])
    return annotation


def _bounds(info: inspection.IntType | inspection.FloatType) -> str:
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below", "multiple_of": "a multiple of"}
    said = [f"{word} {getattr(info, bound)}" for bound, word in words.items() if getattr(info, bound) is not None]
    return f", {' and '.join(said)}" if said else ""


def _text_allowed(info: inspection.StrType) -> str:
    said = []
    if info.pattern is not None:
        said.append(f"matching {info.pattern}")
    if info.min_length is not None:
        said.append(f"of at least {info.min_length} character{'s' if info.min_length > 1 else ''}")
    if info.max_length is not None:
        said.append(f"of at most {info.max_length} characters")
    return " ".join(["text", " and ".join(said)]).strip()
