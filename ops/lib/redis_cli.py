"""Ask Redis through redis-cli, and read its answers for what they are, whatever bytes they hold.

Commands go to redis-cli on its standard input with every argument escaped byte by byte, so that no key and no value
is ever read as anything but itself; answers come back as JSON, one line each, and redis-cli's own addition to JSON,
`error:"…"`, as a `Fault`. The password is in the environment (REDISCLI_AUTH), never among the arguments.
"""

import json
import os
from collections.abc import Sequence
from typing import NamedTuple, Self, TypeAlias

from ops.lib.running_redis_cli import RunningRedisCli

TIMEOUT_S = 10.0
SCAN_COUNT = 2_000
_STRING = json.JSONDecoder(strict=False)


class CannotTell(Exception):
    """Redis did not answer what was asked; the message is one line."""


class Fault(NamedTuple):
    """Redis's own error in place of an answer, such as WRONGTYPE."""

    text: str


Answer: TypeAlias = "bytes | int | Fault | list[Answer] | None"
Word: TypeAlias = bytes | str | int


class RedisCli:
    """One way to one Redis: a redis-cli for each round of questions, and in a `with` block one for all rounds.

    Args:
        command: redis-cli with its options for host, port, database and user.
        timeout_s: how long one round may take.
        password: what to log in with, where it is not in this process's environment already.
    """

    def __init__(self, command: Sequence[str], timeout_s: float = TIMEOUT_S, *, password: str = "") -> None:
        self._command = [*command, "-2", "--json"]
        self._environment = os.environ | {"REDISCLI_AUTH": password} if password else None
        self._timeout_s = timeout_s
        self._running: RunningRedisCli | None = None
        self._stays = False

    def __enter__(self) -> Self:
        """Let redis-cli stay; for rounds in quick succession, since a connection may be closed in a pause."""
        self._stays = True
        return self

    def __exit__(self, *_: object) -> None:
        """Have it stay no longer."""
        self._stays = False
        self._end()

    def ask(self, *commands: Sequence[Word]) -> list[Answer]:
        """Send commands over one connection and give an answer for each.

        Raises:
            CannotTell: no connection, no answer in time, or not as many answers as commands.
        """
        lines = "".join(" ".join(_escaped(word) for word in command) + "\n" for command in commands)
        if self._running is None:
            self._running = RunningRedisCli(self._command, self._environment)
        complaint: bytes | None = b""
        try:
            answered, complaint = self._running.exchange(lines.encode(), len(commands), self._timeout_s)
        except TimeoutError:
            raise CannotTell(f"Redis did not answer within {self._timeout_s:g} s") from None
        finally:
            if complaint is not None or not self._stays:
                self._end()
        said = answered.decode("utf-8", "surrogateescape").split("\n")[:-1]
        if len(said) != len(commands):
            told = ((complaint or b"").decode("utf-8", "backslashreplace") or "\n".join(said)).strip()
            raise CannotTell(f"Redis broke off: {told.splitlines()[0] if told else 'no answer'}")
        return [parsed(line) for line in said]

    def together(self, *commands: Sequence[Word]) -> list[Answer]:
        """Send commands in one MULTI, so that their answers are of one moment.

        Raises:
            CannotTell: as `ask`, or Redis refused the transaction.
        """
        *queued, answers = self.ask(("MULTI",), *commands, ("EXEC",))
        refused = [each.text for each in [*queued, answers] if isinstance(each, Fault)]
        if refused or not isinstance(answers, list):
            raise CannotTell(f"Redis refused: {refused[0] if refused else answers!r}")
        return answers

    def _end(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.end()


def scanned(cli: RedisCli, pattern: str) -> list[bytes]:
    """List the keys that match a pattern, each once, with as many SCANs as it takes.

    Raises:
        CannotTell: Redis did not answer, or refused.
    """
    found: dict[bytes, None] = {}
    cursor: Answer = b"0"
    while True:
        [answer] = cli.ask(("SCAN", text(cursor), "MATCH", pattern, "COUNT", SCAN_COUNT))
        if isinstance(answer, Fault) or not isinstance(answer, list) or len(answer) != 2:
            raise CannotTell(f"SCAN: {instead(answer)}")
        cursor, keys = answer
        found |= {key: None for key in keys if isinstance(key, bytes)} if isinstance(keys, list) else {}
        if text(cursor) == "0":
            return list(found)


def _escaped(word: Word) -> str:
    raw = word if isinstance(word, bytes) else str(word).encode()
    return '"\\x' + raw.hex(" ").replace(" ", "\\x") + '"' if raw else '""'


def parsed(line: str) -> Answer:
    """Read one line of redis-cli's JSON.

    Raises:
        CannotTell: it is none.
    """
    try:
        answer, end = _value(line, 0)
    except (ValueError, IndexError, RecursionError):
        raise CannotTell(f"redis-cli said {line[:80]!r}, which is no JSON") from None
    if line[end:].strip():
        raise CannotTell(f"redis-cli said {line[:80]!r}, which is no JSON")
    return answer


def _value(line: str, at: int) -> tuple[Answer, int]:
    if line.startswith("error:", at):
        text, end = _STRING.raw_decode(line, at + len("error:"))
        return Fault(str(text)), end
    if line[at] == "[":
        return _array(line, at + 1)
    value, end = _STRING.raw_decode(line, at)
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape"), end
    if value is None or isinstance(value, int):
        return value, end
    raise ValueError(value)


def _array(line: str, at: int) -> tuple[Answer, int]:
    items: list[Answer] = []
    while line[at] != "]":
        item, at = _value(line, at)
        items.append(item)
        if line[at] == ",":
            at += 1
    return items, at + 1


def instead(answer: Answer) -> str:
    """Say what came in place of what was asked for: Redis's own error as it is, anything else cut short."""
    return answer.text if isinstance(answer, Fault) else f"{answer!r:.80}"


def pairs(answer: Answer) -> dict[str, str]:
    """Read a hash or the fields of a stream entry: names and values in turn, as text.

    Raises:
        CannotTell: it is no such list.
    """
    if not isinstance(answer, list) or len(answer) % 2:
        raise CannotTell(f"Redis answered {answer!r:.80} where fields were asked for")
    texts = [text(each) for each in answer]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def text(answer: Answer) -> str:
    """Read a string; bytes that are not UTF-8 are shown escaped."""
    return answer.decode("utf-8", "backslashreplace") if isinstance(answer, bytes) else str(answer)


def redis_time_s(answer: Answer) -> float:
    """Read the answer of TIME as epoch seconds.

    Raises:
        CannotTell: it is none.
    """
    if isinstance(answer, list) and len(answer) == 2:
        seconds, microseconds = (text(each) for each in answer)
        if seconds.isdecimal() and microseconds.isdecimal():
            return int(seconds) + int(microseconds) / 1e6
    raise CannotTell(f"Redis answered {answer!r:.80} where its time was asked for")
