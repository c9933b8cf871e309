"""Show what the universe service writes, what its proof prints and how to use it, from the contracts' own encoder.

Usage: ops/test_universe_mock.py [--json]

  --json   only the keys with their content, as one JSON document

No server is asked. Exit: 0; 1 for wrong usage.
"""

import json
import sys
import time
from collections.abc import Mapping, Sequence

import msgspec

from microservices.contracts import hashes, universe
from microservices.contracts.control import Mode
from microservices.contracts.universe import Instrument, UniverseDocument, UniverseMeta
from ops.lib import units, universe_proof
from ops.lib.redis_cli import Answer

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
MAX_AGE_S = 300
READ = """from redis import Redis

from microservices.contracts.control import Mode
from microservices.contracts.universe_reader import UniverseReader

reader = UniverseReader(Redis(), Mode.PAPER)
reader.refresh()
allowed = reader.current(now=time.time())
print(allowed.source, allowed.count, sorted(allowed.symbols)[:3], *allowed.refused)
"""
SHELL = """redis-cli GET quantum:cfg:universe:active
redis-cli HGETALL quantum:cfg:universe:meta
redis-cli HGET quantum:cfg:universe:instruments BTCUSDT
ops/proof_universe.sh"""


def keys(now_s: float) -> dict[str, str | dict[str, str]]:
    """Make the four keys as they stand after a refresh 12 s ago: strings as text, hashes as fields."""
    asof = int(now_s) - 12
    document = UniverseDocument(asof, universe.SOURCE, Mode.PAPER, SYMBOLS, universe.FILTERS)
    meta = UniverseMeta(asof, asof, len(SYMBOLS), 0, mode=Mode.PAPER, last_attempt_epoch=asof)
    row = Instrument(universe.STATUS_TRADING, asof, "0.1", "0.001", "0.001", "120", "5", 1_569_398_400, 4_133_404_800)
    active = universe.encode_document(document).decode()
    return {
        universe.ACTIVE_KEY: active,
        universe.LAST_OK_KEY: active,
        universe.META_KEY: {name: str(value) for name, value in hashes.encode(meta).items()},
        universe.INSTRUMENTS_KEY: {symbol: universe.encode_instrument(row).decode() for symbol in SYMBOLS},
    }


def proof(written: Mapping[str, str | dict[str, str]], now_s: float, **meta: str) -> list[str]:
    """Give the lines that ops/proof_universe.sh prints of these keys, with changes to what is said of the list."""
    active, said = written[universe.ACTIVE_KEY], written[universe.META_KEY]
    fields = dict(said if isinstance(said, dict) else {}) | meta
    answer: list[Answer] = [word.encode() for pair in fields.items() for word in pair]
    verdict = universe_proof.judged(
        str(active).encode(), answer, now_s, max_age_s=MAX_AGE_S, unit_state=units.NOT_INSTALLED
    )
    return [*verdict.lines, f"(exit {verdict.exit_code})"]


def main(argv: Sequence[str]) -> int:
    """Print it all."""
    if argv in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    if argv not in ([], ["--json"]):
        print(__doc__, file=sys.stderr)
        return 1
    now_s = time.time()
    written = keys(now_s)
    if argv:
        print(msgspec.json.encode(written).decode())
        return 0
    _show("KEYS: what the service writes, all four in one transaction", _key_lines(written))
    _show("PROOF: what ops/proof_universe.sh says of them", proof(written, now_s))
    failed = proof(written, now_s, stale="1", error="GET /fapi/v1/exchangeInfo: HTTP 503")
    _show("PROOF: and after a fetch that failed", failed)
    _show("USE: in a shell", SHELL.splitlines())
    _show("USE: in Python, fail-closed as every gate reads it", ["import time", "", *READ.splitlines()])
    return 0


def _key_lines(written: Mapping[str, str | dict[str, str]]) -> list[str]:
    lines = []
    for key, content in written.items():
        if isinstance(content, str):
            lines += [f"{key}  (string)", *json.dumps(json.loads(content), indent=1).splitlines(), ""]
        else:
            width = max(map(len, content))
            lines += [f"{key}  (hash)", *(f" {name:{width}}  {value}" for name, value in content.items()), ""]
    return lines[:-1]


def _show(heading: str, lines: Sequence[str]) -> None:
    print(heading, *(f"   {line}".rstrip() for line in lines), "", sep="\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
