"""Write a mapping as YAML that every parser reads back to exactly these values, and read it again.

Only three forms are written: a plain word where no parser of YAML 1.1 or 1.2 could take it for anything but text, a
literal block for clean text of several lines, and else a double-quoted text on one line, in which all that is not
plainly printable is escaped: line separators, byte order marks, lone surrogates. No line of a value stands at the
margin, so that none can close a Markdown fence. What is read is exactly what is written here, and nothing else.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

Value: TypeAlias = "str | int | Sequence[str] | Mapping[str, str | int] | None"

_WORDS = r"[A-Za-z_/][A-Za-z0-9_./@+-]*(?: [A-Za-z0-9_./@+-]+)*"
_PLAIN = re.compile(_WORDS)
_NOT_TEXT = {"y", "yes", "n", "no", "true", "false", "on", "off", "null", "nan", "inf"}
"""Words that one parser or another reads as a truth value, as nothing, or as a number."""
_QUOTED = r'"(?:[^"\\\n]|\\.)*"'
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_UNESCAPES = {short[1]: char for char, short in _ESCAPES.items()}
_BLOCK_INDENT = "    "  # Markdown closes a fence at up to three spaces
_KEY_MAX = 200  # a key without `?` may have 1,024 characters


def field(name: str, value: Value) -> str:
    """Write one field, with its line ends."""
    if isinstance(value, str) and _is_clean_block(value):
        lines = "\n".join(_BLOCK_INDENT + line if line else "" for line in value.split("\n"))
        return f"{name}: |-\n{lines}\n"
    if isinstance(value, Mapping):
        return f"{name}: {{}}\n" if not value else f"{name}:\n" + "".join(map(_pair, value.items()))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"{name}: []\n" if not value else f"{name}:\n" + "".join(f"  - {scalar(each)}\n" for each in value)
    return f"{name}: {scalar(value)}\n"


def scalar(value: str | int | None) -> str:
    """Write a text, number or nothing on one line."""
    if value is None:
        return "null"
    if isinstance(value, int):
        return str(value)
    if _PLAIN.fullmatch(value) and value.lower() not in _NOT_TEXT:
        return value
    return quoted(value)


def quoted(text: str) -> str:
    """Write a text in double quotes, which is text to every parser."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _pair(item: tuple[str, str | int]) -> str:
    key, value = scalar(item[0]), scalar(item[1])
    return f"  {key}: {value}\n" if len(key) <= _KEY_MAX else f"  ? {key}\n  : {value}\n"


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    return f"\\u{ord(char):04X}" if ord(char) <= 0xFFFF else f"\\U{ord(char):08X}"


def _is_clean_block(text: str) -> bool:
    """Whether its lines are such that a literal block holds them as they are, in any parser and any editor."""
    lines = text.split("\n")
    return (
        len(lines) > 1
        and bool(lines[0] and lines[-1])
        and not lines[0].startswith(" ")
        and not any(line.endswith(" ") for line in lines)
        and all(line.isprintable() for line in lines)
        and not re.search("```|~~~", text)
    )


def read(text: str) -> dict[str, Value]:
    """Read what `field` wrote, field after field; comments at the margin are passed over.

    Raises:
        ValueError: it is anything else; the message names the line.
    """
    lines = [line for line in text.removesuffix("\n").split("\n") if not line.startswith("#")]
    found: dict[str, Value] = {}
    at = 0
    while at < len(lines):
        head = re.fullmatch(r"([a-z0-9_]+):(?: (.*))?", lines[at])
        if head is None or head[1] in found:
            raise ValueError(f"{lines[at][:60]!a} is no field")
        body = at + 1
        at = _end_of_field(lines, body)
        found[head[1]] = _value(head[2], lines[body:at])
    return found


def _end_of_field(lines: Sequence[str], start: int) -> int:
    end = start
    while end < len(lines) and (not lines[end] or lines[end].startswith("  ")):
        end += 1
    return end


def _value(inline: str | None, body: Sequence[str]) -> Value:
    if inline == "|-":
        return "\n".join(line.removeprefix(_BLOCK_INDENT) for line in body)
    if inline is not None and not body:
        return [] if inline == "[]" else {} if inline == "{}" else read_scalar(inline)
    if inline is not None or not body:
        raise ValueError(f"{(inline or '')[:60]!a} is no value")
    if all(line.startswith("  - ") for line in body):
        return [str(read_scalar(line[4:])) for line in body]
    # An explicit key stands on a line of its own, its value on the next.
    pairs = re.findall(rf"^  (?:\? )?({_QUOTED}|{_WORDS})(?:\n  )?: (.*)$", "\n".join(body), re.MULTILINE)
    return {str(read_scalar(key)): _something(read_scalar(value)) for key, value in pairs}


def _something(value: str | int | None) -> str | int:
    if value is None:
        raise ValueError("null is no value of a mapping")
    return value


def read_scalar(text: str) -> str | int | None:
    """Read what `scalar` wrote.

    Raises:
        ValueError: it is anything else.
    """
    if text == "null":
        return None
    if re.fullmatch("[0-9]{1,18}", text):
        return int(text)
    if re.fullmatch(_QUOTED, text):
        return re.sub(r"\\(?:u([0-9A-F]{4})|U([0-9A-F]{8})|(.))", _unescaped, text[1:-1])
    if _PLAIN.fullmatch(text):
        return text
    raise ValueError(f"{text[:60]!a} is no value")


def _unescaped(found: re.Match[str]) -> str:
    number = found[1] or found[2]
    if not number and found[3] not in _UNESCAPES:
        raise ValueError(f"\\{found[3]!a} is no escape")
    return chr(int(number, 16)) if number else _UNESCAPES[found[3]]
