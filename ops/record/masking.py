"""Make collected text fit to be kept: secrets masked, control characters shown, every line and their number bounded."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

MASK = "***"
LINES_MAX = 2_000
LINE_MAX_CHARS = 500
_SCANNED_MAX_CHARS = 1_500  # more than what is kept, so that no secret is seen half, and little enough to be quick
_SECRETIVE = (
    r"[A-Za-z0-9_.-]{0,40}(?:passw(?:or)?d|passphrase|secret|token|api[_-]?key|apikey|private[_-]?key|credentials?"
    r"|signature|requirepass|masterauth|redis(?:cli)?_?auth)[A-Za-z0-9_.-]{0,40}"
)
_PATTERNS = (
    # name=value, name: value, "name": "value"; the value ends where its quote or its word does.
    (re.compile(rf"""(?i)(["']?\b{_SECRETIVE}["']?\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s"'&,;}}]+)"""), rf"\1{MASK}"),
    # The name of a hash's field or of an option, and the value on the next line or as the next word.
    (re.compile(rf"(?im)^(\s*{_SECRETIVE}[ \t]*\n[ \t]*)\S.*$"), rf"\1{MASK}"),
    (re.compile(rf"(?i)((?<!\S)--?{_SECRETIVE}[ \t]+)\S+"), rf"\1{MASK}"),
    (re.compile(r"(?i)\b(authorization\s*[=:]\s*(?:bearer|basic|digest)?\s*)\S+"), rf"\1{MASK}"),
    (re.compile(r"(?i)\b(bearer\s+)\S{8,}"), rf"\1{MASK}"),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s/:@]*:)[^\s/@]+(?=@)"), rf"\1{MASK}"),
    (re.compile(r"(?im)^(\W*auth\s+)(?:\S+\s+)?\S+$"), rf"\1{MASK}"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), MASK),
    # An exchange's key: 64 letters and figures, and no digest, which has only hexadecimal ones.
    (re.compile(r"(?<![A-Za-z0-9])(?![0-9a-f]{64}\b|[0-9A-F]{64}\b)[A-Za-z0-9]{64}(?![A-Za-z0-9])"), MASK),
)
_LOGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/@:]*:([^/@]+)@")
_SHORTEST_KNOWN = 6


def fit(text: str, environment: Mapping[str, str]) -> str:
    """Mask what looks like a secret and what is one by the environment; show, cut and count the rest.

    Args:
        text: what a tool printed.
        environment: its secrets are masked wherever they stand, by whatever name.
    """
    lines = text.strip().split("\n")
    left_out = len(lines) - LINES_MAX
    text = "\n".join(line[:_SCANNED_MAX_CHARS] for line in lines[:LINES_MAX])
    for secret in known_secrets(environment):
        text = text.replace(secret, MASK)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    more = [f"… {left_out} lines more"] if left_out > 0 else []
    return "\n".join([*map(_line, text.split("\n")), *more])


def known_secrets(environment: Mapping[str, str]) -> list[str]:
    """Give the values that the environment names as secrets, and those in the files it names, longest first."""
    name = re.compile(_SECRETIVE, re.IGNORECASE)
    values = {value for key, value in environment.items() if name.fullmatch(key) and not key.endswith("_FILE")}
    values |= {login[1] for value in environment.values() if (login := _LOGIN.match(value))}
    files = [Path(value) for key, value in environment.items() if name.fullmatch(key) and key.endswith("_FILE")]
    folder = environment.get("CREDENTIALS_DIRECTORY")
    if folder and Path(folder).is_dir():
        files += Path(folder).iterdir()
    readable = [file for file in files if file.is_file() and os.access(file, os.R_OK)]
    values |= {file.read_text(errors="replace").strip() for file in readable}
    return sorted((each for each in values if len(each) >= _SHORTEST_KNOWN), key=len, reverse=True)


def _line(line: str) -> str:
    shown = "".join(
        char if char.isprintable() else " " if char == "\t" else char.encode("unicode_escape", "surrogatepass").decode()
        for char in line.rstrip()
    )
    return shown if len(shown) <= LINE_MAX_CHARS else f"{shown[:LINE_MAX_CHARS]}…"
