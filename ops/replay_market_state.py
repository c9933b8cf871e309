"""Show the market state of a price history: synthetic, from a file, or from standard input.

Exit codes: 0; 1 with one line for input that cannot be read or is too short; 2 for wrong usage.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from ai_engine.market_state import MarketState
from ops.replay import report
from ops.replay.chart import draw
from ops.replay.price_files import BadPrices, History, read_history
from ops.replay.synthetic import REGIMES, synthetic_prices

EXAMPLES = """examples:
  python ops/replay_market_state.py --synthetic --regime trend
  python ops/replay_market_state.py --file BTCUSDT-1m.csv.gz --rolling states.csv --plot states.png
  redis-cli --raw zrange quantum:candles:BTCUSDT 0 -1 | python ops/replay_market_state.py --file - --json"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        market_state = MarketState(options.theta)
    except ValueError as error:
        parser.error(f"--theta: {error}")
    try:
        title, history = _history(options)
        state = market_state.get_state(title, history.closes)
        if state is None:
            raise BadPrices(f"{title}: {len(history.closes)} prices, {market_state.min_prices} needed")
        _show(options, market_state, title, history, state)
    except BrokenPipeError:
        sys.stderr.close()
    except (BadPrices, ValueError, OSError) as error:
        print(f"replay_market_state: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--synthetic", action="store_true", help="make prices up")
    source.add_argument("--file", metavar="PRICES", help="one price a line, or CSV/JSON candles; .gz too; - = stdin")
    parser.add_argument("--regime", choices=list(REGIMES), default="trend", help="of synthetic prices (trend)")
    parser.add_argument("--seed", type=_whole(0, 2**32 - 1), default=42, help="of synthetic prices (42)")
    parser.add_argument("--n", type=_whole(1, 10_000_000), default=300, help="number of synthetic prices (300)")
    parser.add_argument("--symbol", help="which one, where the file holds several")
    parser.add_argument("--theta", type=_json_object, metavar="JSON", help="parameters to change")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rolling", type=Path, metavar="OUT.csv", help="write the state at every candle")
    parser.add_argument("--plot", type=Path, metavar="OUT.png", help="draw price, sigma and regime bands")
    return parser


def _whole(least: int, most: int) -> Any:  # noqa: ANN401 - what argparse calls with the text
    def number(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} is not from {least} to {most}")
        return value

    return number


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("not a JSON object")
    return value


def _history(options: argparse.Namespace) -> tuple[str, History]:
    if options.synthetic:
        prices = synthetic_prices(options.regime, options.seed, options.n)
        return f"synthetic {options.regime} (seed {options.seed})", History("", np.full(options.n, np.nan), prices)
    history = read_history(options.file, options.symbol)
    name = "standard input" if options.file == "-" else Path(options.file).name
    return f"{history.symbol} in {name}" if history.symbol else name, history


def _show(
    options: argparse.Namespace, market_state: MarketState, title: str, history: History, state: dict[str, Any]
) -> None:
    write = report.as_json if options.json else report.as_text
    print(write(title, len(history.closes), state))
    if not (options.rolling or options.plot):
        return
    rolling = market_state.replay(history.closes)
    if options.rolling:
        rows = report.write_rolling(options.rolling, history.times, history.closes, rolling)
        print(f"{rows} states written to {options.rolling}", file=sys.stderr)
    if options.plot:
        draw(title, history.closes, rolling).write(options.plot)
        print(f"{len(rolling['sigma'])} states drawn in {options.plot}", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
