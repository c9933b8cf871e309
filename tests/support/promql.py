"""PromQL, as far as a test has to read it."""

import re
import shutil
import subprocess

import pytest

_TOOLS = ("prometheus", "promtool", "amtool", "prometheus-alertmanager", "prometheus-redis-exporter")
needs_prometheus = pytest.mark.skipif(
    not all(map(shutil.which, _TOOLS)),
    reason=f"needs {', '.join(_TOOLS)}: on Debian `ops/setup.sh dev` installs them as root",
)

_TEXT = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'")
_NOT_METRICS = re.compile(
    r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)|\boffset\s+\w+"
)
_WORD = re.compile(r"(?<![\w.])[a-zA-Z_:][\w:]*(?![\w:]|\s*\()")
_OPERATORS = {"and", "or", "unless", "bool"}


def names_in(expression: str) -> set[str]:
    """Give the metrics that an expression asks for: what is neither a function, a label nor an operator."""
    return set(_WORD.findall(_NOT_METRICS.sub(" ", _TEXT.sub('""', expression)))) - _OPERATORS - {"inf", "nan"}


def promtool(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(["promtool", *arguments], input=given, capture_output=True, text=True, timeout=60)
