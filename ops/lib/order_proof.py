"""Was an order placed: the newest result that was executed and has an order id, at the top or inside `details`."""

import json
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from typing import Any

from ops.lib.redis_cli import Answer, CannotTell, Fault, RedisCli, pairs, text
from ops.lib.report import MISSING, PROVEN, Verdict, epoch, framed, shown, utc

STREAM = "quantum:stream:apply.result"
TITLE = "Quantum Trader Order Execution Proof"
NEXT_BLOCK_MS = 2_000
FOLLOW_BATCH = 100
NO_ORDER_ID = ("", "-", "-1", "0", "0.0", "false", "n/a", "nan", "none", "null", "true", "undefined", "unknown")
# What the proof shows, in its order, and under which names results in the wild carry it.
FIELDS = {
    "symbol": ("symbol",),
    "plan_id": ("plan_id",),
    "executed": ("executed",),
    "order_id": ("order_id", "orderId"),
    "side": ("side",),
    "quantity": ("quantity", "qty", "filled_qty"),
    "price": ("price", "avg_price", "avgPrice"),
    "timestamp": ("timestamp",),
}
LABELS = {"plan_id": "Plan ID", "order_id": "Order ID"}

Entry = tuple[str, dict[str, str]]


def add_arguments(parser: ArgumentParser) -> None:
    """Declare what the script passes on."""
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--symbol", default="")
    parser.add_argument("--plan-id", default="")
    parser.add_argument("--follow-s", type=float, default=0.0)


def prove(cli: RedisCli, arguments: Namespace) -> Verdict:
    """Look through the newest results; where asked to follow, wait for one that proves it.

    Raises:
        CannotTell: Redis did not answer, or the stream is none.
    """
    search = Search(arguments.symbol, arguments.plan_id, arguments.count)
    deadline_s = time.monotonic() + arguments.follow_s
    [newest] = cli.ask(("XREVRANGE", STREAM, "+", "-", "COUNT", arguments.count))
    entries = _entries(newest)
    last_id = entries[0][0] if entries else "0-0"
    found = search.first(entries)
    while found is None and (left_s := deadline_s - time.monotonic()) > 0:
        block_ms = max(1, min(NEXT_BLOCK_MS, int(left_s * 1000)))
        [answer] = cli.ask(("XREAD", "COUNT", FOLLOW_BATCH, "BLOCK", block_ms, "STREAMS", STREAM, last_id))
        came = _streamed(answer)
        last_id = came[-1][0] if came else last_id
        found = search.first(reversed(came))
    return search.verdict(found)


class Search:
    """Look for the proof among results, and remember what was there instead.

    Args:
        symbol: only results of this symbol; empty is any.
        plan_id: only the result of this plan; empty is any.
        count: how many of the newest results are looked through.
    """

    def __init__(self, symbol: str, plan_id: str, count: int) -> None:
        self._symbol = symbol
        self._plan_id = plan_id
        self._count = count
        self._looked_at = 0
        self._asked_about = 0
        self._newest: dict[str, str] = {}

    def first(self, entries: Iterable[Entry]) -> dict[str, str] | None:
        """Give the first of these entries, newest first, that proves an order."""
        for entry_id, fields in entries:
            self._looked_at += 1
            result = read_result(entry_id, fields)
            if not self._is_asked_about(result):
                continue
            self._asked_about += 1
            self._newest = self._newest or result | {
                "decision": fields.get("decision", ""),
                "error": fields.get("error", ""),
            }
            if is_proof(result):
                return result
        return None

    def verdict(self, found: dict[str, str] | None) -> Verdict:
        """Say what was found."""
        facts: dict[str, Any] = {
            "proof": "order",
            "count": self._count,
            "looked_at": self._looked_at,
            "symbol_asked": self._symbol or None,
            "plan_id_asked": self._plan_id or None,
            "found": found,
        }
        lines = [*framed(TITLE), "", f"Searching {self._count} apply.result entries...", ""]
        if found is not None:
            lines += ["✅ PROOF FOUND: executed=true + order_id present", "", f"Entry ID: {shown(found['entry_id'])}"]
            lines += [f"{LABELS.get(name, name.capitalize())}: {_said(name, found[name])}" for name in FIELDS]
            return Verdict(PROVEN, "FOUND", lines, facts)
        problem = (
            f"{self._asked_about} of {self._looked_at} entries were asked about, "
            "none has executed=true and an order id, expected one"
        )
        lines += ["❌ NO PROOF FOUND", f"   {problem}"]
        if self._newest:
            said = " ".join(f"{name}={shown(value)}" for name, value in self._newest.items() if value)
            lines += [f"   newest of them: {said}"]
        return Verdict(MISSING, "NONE", lines, facts | {"newest": self._newest or None}, [problem])

    def _is_asked_about(self, result: dict[str, str]) -> bool:
        return self._symbol in ("", result["symbol"]) and self._plan_id in ("", result["plan_id"])


def read_result(entry_id: str, fields: dict[str, str]) -> dict[str, str]:
    """Read what the proof shows; a field that is not at the top is looked for inside `details`."""
    details = _details(fields.get("details", ""))
    result = {"entry_id": entry_id}
    for name, names in FIELDS.items():
        candidates = [fields.get(each, "") for each in names] + [details.get(each, "") for each in names]
        result[name] = next((value.strip() for value in candidates if value.strip()), "")
    return result


def is_proof(result: dict[str, str]) -> bool:
    """Tell whether this result says that an order was placed; an id that is a word for none is none."""
    return result["executed"].lower() == "true" and result["order_id"].lower() not in NO_ORDER_ID


def _details(raw: str) -> dict[str, str]:
    try:
        details = json.loads(raw) if raw else {}
    except (ValueError, RecursionError):
        return {}
    if not isinstance(details, dict):
        return {}
    plain = {name: value for name, value in details.items() if isinstance(value, str | int | float | bool)}
    return {name: str(value) for name, value in plain.items()}


def _said(name: str, value: str) -> str:
    if not value:
        return "-"
    moment = epoch(value) if name == "timestamp" else None
    return shown(value) if moment is None else f"{shown(value)} ({utc(moment)})"


def _entries(answer: Answer) -> list[Entry]:
    if isinstance(answer, Fault):
        raise CannotTell(f"{STREAM}: {answer.text}, expected a stream")
    if not isinstance(answer, list):
        raise CannotTell(f"{STREAM}: Redis answered {answer!r:.80}, expected entries")
    found = []
    for entry in answer:
        if not isinstance(entry, list) or len(entry) != 2:
            raise CannotTell(f"{STREAM}: Redis answered {entry!r:.80}, expected an entry")
        entry_id, fields = entry
        found.append((text(entry_id), pairs(fields)))
    return found


def _streamed(answer: Answer) -> list[Entry]:
    """Read the answer of XREAD for one stream, oldest first; nothing in time is no entry."""
    if answer is None:
        return []
    if isinstance(answer, list) and len(answer) == 1 and isinstance(answer[0], list) and len(answer[0]) == 2:
        return _entries(answer[0][1])
    return _entries(answer if isinstance(answer, Fault) else None)
