"""Options of the ledger's tools: whatever text a value is, it is that option's value; a refusal is one line, exit 2."""

import sys
import unicodedata
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

from ops.record.entry import RISK_CLASSES

USAGE_ERROR = 2
_GUARD = "="  # argparse takes `--` for itself, also as a value behind an equals sign
_LINE_ENDS = "\u2028\u2029"


class Options(ArgumentParser):
    """Options with one value, options with several (after one flag, the flag repeated, or both), and flags."""

    def __init__(self, prog: str, usage: str, description: str, epilog: str = "") -> None:
        super().__init__(prog=prog, usage=usage, description=description, epilog=epilog, allow_abbrev=False)
        self._group = self.add_argument_group("required")
        self._one: set[str] = set()
        self._several: set[str] = set()

    def heading(self, title: str) -> None:
        """Put what is taken from here on under another heading of the help."""
        self._group = self.add_argument_group(title)

    def flag(self, name: str, meaning: str) -> None:
        """Take a word without a value."""
        self._group.add_argument(f"--{name}", action="store_true", help=meaning)

    def one(self, name: str, meaning: str, *, choices: Sequence[str] | None = None, default: str | None = None) -> None:
        """Take one value."""
        self._one.add(f"--{name}")
        self._group.add_argument(
            f"--{name}",
            help=meaning,
            type=_unguarded,
            choices=choices,
            default=None if default is None else _GUARD + default,
            metavar="|".join(choices) if choices else "TEXT",
        )

    def several(self, name: str, meaning: str) -> None:
        """Take a list."""
        self._several.add(f"--{name}")
        self._group.add_argument(
            f"--{name}", help=meaning, type=_unguarded, action="append", default=[], metavar="TEXT…"
        )

    def read(self, argv: Sequence[str]) -> Namespace:
        """Read the arguments; ends the program with one line where they are no good."""
        return self.parse_args(list(self._joined(argv)))

    def need(self, given: Namespace, *names: str) -> None:
        """Refuse what is missing, or is nothing but blanks."""
        missing = [f"--{name}" for name in names if getattr(given, name) in (None, [])]
        if missing:
            self.error(f"{', '.join(missing)}: required")
        for name in names:
            values = getattr(given, name)
            for value in [values] if isinstance(values, str) else values:
                if not value.strip():
                    self.error(f"--{name} is empty")

    def error(self, message: str) -> NoReturn:
        """End the program: what is wrong, on one line."""
        self.exit(USAGE_ERROR, f"{self.prog}: {one_line(message)}\n")

    def _joined(self, argv: Sequence[str]) -> Iterator[str]:
        """Give each value together with its option and behind a guard, so that argparse reads nothing into it."""
        words = [*argv]
        while words:
            word = words.pop(0)
            name, equals, value = word.partition("=")
            if equals and name in self._one | self._several:
                yield f"{name}={_GUARD}{value}"
                continue
            taken = 0
            while word in self._one | self._several and words and not self._is_option(words[0], word):
                yield f"{word}={_GUARD}{words.pop(0)}"
                taken += 1
                if word in self._one:
                    break
            if not taken:
                yield word

    def _is_option(self, word: str, after: str) -> bool:
        # An unknown option among the values of a list is more likely a slip than a value.
        known = word.partition("=")[0] in self._option_string_actions
        return known or (after in self._several and word.startswith("--"))


def take_declaration(parser: Options) -> None:
    """Take what every operation is declared by, whether it is to be done or was done."""
    parser.one("operation", "what it is called")
    parser.one("objective", "what it is to achieve")
    parser.one("risk_class", "how much it may do", choices=RISK_CLASSES)
    parser.one("blast_radius", "what may suffer")


def _unguarded(value: str) -> str:
    return value.removeprefix(_GUARD)


def breaks_a_line(text: str) -> bool:
    """Whether it holds a line end, or another character that does more than to stand there."""
    return any(char in _LINE_ENDS or unicodedata.category(char) in ("Cc", "Cs") for char in text)


def one_line(text: str) -> str:
    """Show a text on one line, whatever is in it."""
    return "".join(
        char.encode("unicode_escape", "surrogatepass").decode() if breaks_a_line(char) else char for char in text
    )


def print_anything() -> None:
    """Have standard output and error take any text, whatever the locale."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure: Callable[..., None] = getattr(stream, "reconfigure", lambda **_: None)
        reconfigure(encoding="utf-8", errors="backslashreplace")
