"""What a proof or an audit says: lines for a person, or one JSON document for a program, and the exit code."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

PROVEN, CANNOT_TELL, DEGRADED, MISSING = 0, 1, 2, 3
FUTURE_TOLERANCE_S = 5
SHOWN_CHARACTERS = 160
PROBLEMS_SHOWN = 10

_BEST_FIRST = (PROVEN, DEGRADED, MISSING, CANNOT_TELL)
_COLOURS = {"✅": "32", "❌": "31", "⚠": "33"}


class Finding(NamedTuple):
    """One thing that is not as it must be: the exit code it is worth, and what was seen and expected."""

    code: int
    said: str


@dataclass
class Verdict:
    """How it ended.

    Args:
        exit_code: what the script ends with.
        status: one word or two, the same in text and JSON.
        lines: the report for a person.
        facts: the same for a program.
        problems: each failing check: what was seen, and what was expected.
    """

    exit_code: int
    status: str
    lines: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def as_json(self) -> str:
        """Write it as one JSON document on one line."""
        document = {"exit": self.exit_code, "status": self.status, **self.facts, "problems": self.problems}
        return json.dumps(document, allow_nan=False)

    def as_text(self, *, colour: bool) -> str:
        """Write it as lines; a line that begins with a mark has the mark's colour where colours are wanted."""
        return "\n".join(_coloured(line) if colour else line for line in self.lines)


def cannot_tell(why: str) -> Verdict:
    """Make the verdict of a script that could not look."""
    return Verdict(CANNOT_TELL, "CANNOT TELL", problems=[shown(why)])


def worst(findings: Iterable[Finding]) -> int:
    """Give the exit code of all findings together; without any it is proven."""
    return max((finding.code for finding in findings), key=_BEST_FIRST.index, default=PROVEN)


def concluded(
    findings: Iterable[Finding], proven: str, lines: list[str], facts: dict[str, Any], *, missing: str = "MISSING"
) -> Verdict:
    """Make the verdict of a proof from all that was found.

    Args:
        findings: what is not as it must be.
        proven: the words at the end where nothing is.
        lines: the report up to there.
        facts: the same for a program.
        missing: what exit code 3 is called.
    """
    found = list(findings)
    code = worst(found)
    status = {PROVEN: "PROVEN", DEGRADED: "DEGRADED", MISSING: missing, CANNOT_TELL: "CANNOT TELL"}[code]
    problems = [finding.said for finding in found]
    told = [f"   {problem}" for problem in problems[:PROBLEMS_SHOWN]]
    if len(problems) > PROBLEMS_SHOWN:
        told.append(f"   and {len(problems) - PROBLEMS_SHOWN} more: --json lists them")
    end = f"✅ {proven}" if code == PROVEN else f"❌ NOT PROVEN: {status}"
    return Verdict(code, status, [*lines, "", end, *told], facts, problems)


def framed(title: str) -> list[str]:
    """Put a title into a frame."""
    line = "═" * (len(title) + 4)
    return [f"╔{line}╗", f"║  {title}  ║", f"╚{line}╝"]


def aligned(values: Mapping[str, object]) -> list[str]:
    """Write names and values below each other."""
    width = max(map(len, values), default=0) + 1
    return [f"{name + ':':{width}} {value}" for name, value in values.items()]


def shown(value: object) -> str:
    """Quote data in a report: printable, on one line, bounded, and without the marks of a verdict."""
    line = "".join(
        sign if sign.isprintable() and sign not in _COLOURS else sign.encode("unicode_escape", "surrogatepass").decode()
        for sign in str(value)
    )
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]}… ({len(line)} characters)"


def utc(epoch_s: float) -> str:
    """Write a time; one that no calendar has, as the number it is."""
    try:
        return f"{datetime.fromtimestamp(epoch_s, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return f"{epoch_s:g}"


def aged(age_s: float) -> str:
    """Say how old something is; what is of a later time than now, so too."""
    return f"{max(age_s, 0):.0f}s old" if age_s > -1 else f"{-age_s:.0f}s in the future"


def epoch(value: object) -> float | None:
    """Read a time in epoch seconds; None where it is none."""
    try:
        seconds = float(str(value))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) else None


def _coloured(line: str) -> str:
    code = next((code for mark, code in _COLOURS.items() if mark in line), "")
    return f"\033[{code}m{line}\033[0m" if code else line
