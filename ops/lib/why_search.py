"""Find a plan's or a symbol's entries in streams of a million, without reading them whole and without holding up Redis.

A stretch of a stream is cut into pieces of some hundred entries; a small read-only script looks through each inside
Redis, a round of them over one connection. Where the stretch is not known, the index of decision intelligence names the
minutes; without it the newest entries are looked through as long as there is time.
"""

import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from ops.lib.redis_cli import Answer, CannotTell, Fault, RedisCli, Word, pairs, text

PLANS = "quantum:stream:apply.plan"
EVENTS = "quantum:stream:permit.events"
RESULTS = "quantum:stream:apply.result"
STREAMS = (PLANS, EVENTS, RESULTS)
PIECE_ENTRIES = 1_000
PIECES_A_ROUND = 8
MINUTE_MS = 60_000
MINUTES_A_PIECE = 200
"""About a millisecond for one script, at ten results a second."""
MINUTES_AT_MOST = 8 * 24 * 60
MINUTES_LOOKED_AT = 12
"""Of those that hold a mark, the newest: a plan is in one or two, a symbol in hundreds, and its newest is asked for."""

_SCAN = (Path(__file__).parent / "why_scan.lua").read_text(encoding="utf-8")
_MINUTES = (Path(__file__).parent / "why_minutes.lua").read_text(encoding="utf-8")


class Entry(NamedTuple):
    """One entry of a stream."""

    id: str
    fields: dict[str, str]

    @property
    def ms(self) -> int:
        """When it was added, epoch ms."""
        return ms_of(self.id)


class Reach(NamedTuple):
    """How far back a stream goes."""

    entries: int
    first_ms: int | None
    last_ms: int | None


class Wanted(NamedTuple):
    """A field, and the value it must have."""

    field: str
    value: bytes


class _Piece(NamedTuple):
    newest: str
    oldest: str


class Search:
    """Look through the streams of one Redis.

    Args:
        cli: the way to it.
        deadline_s: on the monotonic clock: when looking where the place is not known has taken long enough.
    """

    def __init__(self, cli: RedisCli, deadline_s: float) -> None:
        self._cli = cli
        self._deadline_s = deadline_s
        self.reach: dict[str, Reach] = {}
        self.looked_back_to_ms: dict[str, int] = {}
        """Where looking through a stream ended for want of time; a stream in which it did not is not named."""

    def look(self) -> None:
        """See how far back each stream goes.

        Raises:
            CannotTell: Redis did not answer, or a stream is none.
        """
        questions = [(("XLEN", key), ("XRANGE", key, "-", "+", "COUNT", 1), _newest(key)) for key in STREAMS]
        answers = self._cli.ask(*(question for each in questions for question in each))
        for index, key in enumerate(STREAMS):
            length, first, last = answers[3 * index : 3 * index + 3]
            ends = [entries[0].ms if entries else None for entries in (entries_of(first, key), entries_of(last, key))]
            self.reach[key] = Reach(length if isinstance(length, int) else 0, *ends)

    def one(self, stream: str, entry_id: str) -> Entry | None:
        """Read one entry by its id; None where it is gone, or the id is none."""
        if ms_of(entry_id) < 0:
            return None
        [answer] = self._cli.ask(("XRANGE", stream, entry_id, entry_id))
        found = entries_of(answer, stream)
        return found[0] if found else None

    def between(self, stream: str, from_ms: int, to_ms: int, *wanted: Wanted) -> list[Entry]:
        """Give all entries of a stretch in which one of these fields holds its value, newest first."""
        found, _ = self._through(stream, self._pieces(stream, from_ms, to_ms), wanted)
        return found

    def newest(self, stream: str, *wanted: Wanted) -> Entry | None:
        """Look back through a stream until one is found or time is up."""
        reach = self.reach[stream]
        if reach.first_ms is None or reach.last_ms is None:
            return None
        pieces = self._pieces(stream, reach.first_ms, reach.last_ms)
        found, left = self._through(stream, pieces, wanted, first=True, until_s=self._deadline_s)
        if not found and left:
            self.looked_back_to_ms[stream] = ms_of(left[0].newest.lstrip("("))
        return found[0] if found else None

    def indexed(
        self, stream: str, until_ms: int, names: Iterable[bytes], *wanted: Wanted, earlier_ms: int = 0
    ) -> list[Entry]:
        """Give the newest entries that the index leads to: of the newest minute that holds any.

        Args:
            stream: the results, or what goes before them.
            until_ms: what is of a later minute is passed over.
            names: plan id or symbol, as the index notes them.
            wanted: the fields that tell.
            earlier_ms: how long before a plan's result its entry may be.
        """
        first_ms = self.reach[stream].first_ms
        if first_ms is None:
            return []
        newest = until_ms // MINUTE_MS + 1
        oldest = max(first_ms // MINUTE_MS, newest - MINUTES_AT_MOST)
        marks = [crc32(name).to_bytes(4, "big") for name in names]
        questions: list[tuple[Word, ...]] = [
            ("EVAL_RO", _MINUTES, 0, top, max(oldest, top - MINUTES_A_PIECE + 1), *marks)
            for top in range(newest, oldest - 1, -MINUTES_A_PIECE)
        ]
        minutes = [minute for answer in self._cli.ask(*questions) for minute in _whole_numbers(answer)]
        for minute in minutes[:MINUTES_LOOKED_AT]:
            pieces = self._pieces(stream, minute * MINUTE_MS - earlier_ms, minute * MINUTE_MS + MINUTE_MS - 1)
            found, _ = self._through(stream, pieces, wanted, first=True)
            if found:
                return found
        return []

    def _pieces(self, stream: str, from_ms: int, to_ms: int) -> list[_Piece]:
        """Cut a stretch, newest first, so that a piece holds about as many entries as one script looks at."""
        reach = self.reach[stream]
        if reach.first_ms is None or reach.last_ms is None:
            return []
        from_ms, to_ms = max(from_ms, reach.first_ms), min(to_ms, reach.last_ms)
        span_ms = max(1, reach.last_ms - reach.first_ms)
        piece_ms = max(1, span_ms * PIECE_ENTRIES // (2 * max(1, reach.entries)))
        tops = range(to_ms, from_ms - 1, -piece_ms)
        return [_Piece(str(top), str(max(from_ms, top - piece_ms + 1))) for top in tops]

    def _through(
        self,
        stream: str,
        pieces: list[_Piece],
        wanted: Sequence[Wanted],
        *,
        first: bool = False,
        until_s: float = math.inf,
    ) -> tuple[list[Entry], list[_Piece]]:
        """Look through pieces, newest first; give what was found, newest first, and the pieces that are left.

        Args:
            stream: its key.
            pieces: newest first.
            wanted: what is looked for.
            first: whether a round in which something was found is the last; else all pieces are looked through.
            until_s: on the monotonic clock: no round begins after it but the first.
        """
        told = [word for each in wanted for word in each]
        found: list[Entry] = []
        while pieces:
            now, pieces = pieces[:PIECES_A_ROUND], pieces[PIECES_A_ROUND:]
            questions = [("EVAL_RO", _SCAN, 1, stream, *piece, PIECE_ENTRIES, *told) for piece in now]
            unfinished = []
            for piece, answer in zip(now, self._cli.ask(*questions), strict=True):
                last, entries = _scanned(answer, stream)
                found += entries
                if last:
                    unfinished.append(_Piece(f"({last}", piece.oldest))
            pieces = unfinished + pieces
            if (first and found and not unfinished) or time.monotonic() > until_s:
                break
        return sorted(found, key=lambda entry: order_of(entry.id), reverse=True), pieces


def ms_of(entry_id: str) -> int:
    """Give the time of an entry id, epoch ms; -1 where it is none."""
    milliseconds, dash, sequence = entry_id.partition("-")
    is_id = dash and _is_whole(milliseconds) and _is_whole(sequence)
    return int(milliseconds) if is_id or (not dash and _is_whole(milliseconds)) else -1


def order_of(entry_id: str) -> tuple[int, int]:
    """Order ids as Redis does."""
    return ms_of(entry_id), int(entry_id.partition("-")[2] or 0)


def entries_of(answer: Answer, stream: str) -> list[Entry]:
    """Read entries.

    Raises:
        CannotTell: it is no list of entries.
    """
    if isinstance(answer, Fault):
        raise CannotTell(f"{stream}: {answer.text}, expected a stream that can be read")
    if not isinstance(answer, list):
        raise CannotTell(f"{stream}: Redis answered {answer!r:.80}, expected entries")
    found = []
    for entry in answer:
        if not isinstance(entry, list) or len(entry) != 2:
            raise CannotTell(f"{stream}: Redis answered {entry!r:.80}, expected an entry")
        found.append(Entry(text(entry[0]), pairs(entry[1])))
    return found


def _newest(stream: str) -> tuple[str | int, ...]:
    return "XREVRANGE", stream, "+", "-", "COUNT", 1


def _scanned(answer: Answer, stream: str) -> tuple[str, list[Entry]]:
    if isinstance(answer, list) and len(answer) == 2:
        return text(answer[0]), entries_of(answer[1], stream)
    return "", entries_of(answer, stream)


def _whole_numbers(answer: Answer) -> list[int]:
    if isinstance(answer, Fault):
        raise CannotTell(f"the index of decision intelligence: {answer.text}")
    return [each for each in answer if isinstance(each, int)] if isinstance(answer, list) else []


def _is_whole(digits: str) -> bool:
    return digits.isascii() and digits.isdecimal() and len(digits) <= 20
