"""Regime and volatility of all symbols at a glance, as the publisher last published them. It only reads.

On a terminal it goes on until Ctrl-C; elsewhere, or with --once, it shows the board once. --json prints the same as one
JSON document on one line, also where it cannot tell.

Exit: 0 there and young; 2 some states are older than --max-age or cannot be read; 3 no state at all; 1 cannot tell (no
Redis, usage). Redis: REDIS_URL, else REDIS_HOST, REDIS_PORT, REDIS_DB; REDIS_USERNAME, REDIS_PASSWORD or
REDIS_PASSWORD_FILE. NO_COLOR leaves the colours out: every tile says its regime by a sign as well.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from redis import Redis
from redis.exceptions import RedisError
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from microservices.runtime import Away, CommonSettings, Refused, connect, load_settings
from ops.lib.report import CANNOT_TELL, PROVEN, Verdict, cannot_tell
from ops.market.heat_map import draw
from ops.market.judging import judge
from ops.market.reading import read_market
from ops.market.tiles import render
from ops.market.view import Sort
from ops.operate.common import guarded

NAME = "market_board.py"
WIDTH = 118


class Parser(argparse.ArgumentParser):
    """A parser whose refusal has the exit code that every script here has for it."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and the usage."""
        self.exit(CANNOT_TELL, f"{NAME}: {message}\n\n{self.format_usage()}")


def work(argv: Sequence[str]) -> int:
    """Show the board; return the exit code.

    Raises:
        SettingError: Redis's settings cannot be used.
        redis.exceptions.RedisError: Redis is away.
    """
    options = _options(argv)
    if options.json:
        return _say(_judged(options))
    # Names and reasons come from Redis: nothing in them is markup.
    console = Console(width=None if sys.stdout.isatty() else WIDTH, markup=False, highlight=False)
    with connect(load_settings(CommonSettings, os.environ), "market-board") as redis:
        if console.is_terminal and not options.once and options.png is None:
            _watch(redis, console, options)
            return PROVEN
        market = read_market(redis)
    if options.png is not None:
        try:
            draw(market, options.sort).write(options.png)
        except OSError as fault:
            print(f"{NAME}: {options.png} cannot be written: {fault.strerror}", file=sys.stderr)
            return CANNOT_TELL
        print(f"{len(market.states)} symbols drawn in {options.png}", file=sys.stderr)
    else:
        console.print(render(market, options.sort, console.width))
    verdict = judge(market, options.sort, options.max_age)
    for line in verdict.lines:
        print(line, file=sys.stderr)
    return verdict.exit_code


def _watch(redis: Redis, console: Console, options: argparse.Namespace) -> None:
    """Show the board again and again; Ctrl-C is the way to end it, also where a shell had it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        try:
            while True:
                live.update(_shown(redis, console, options), refresh=True)
                time.sleep(options.every)
        except KeyboardInterrupt:
            return


def _shown(redis: Redis, console: Console, options: argparse.Namespace) -> RenderableType:
    """Lay out what is there now; an outage is shown, and not the end."""
    try:
        return render(read_market(redis), options.sort, console.width, console.height)
    except RedisError as away:
        return Text(f"Redis is away: {away}", style="bold red")


def _judged(options: argparse.Namespace) -> Verdict:
    try:
        with connect(load_settings(CommonSettings, os.environ), "market-board") as redis:
            return judge(read_market(redis), options.sort, options.max_age)
    except (Refused, Away) as fault:
        return cannot_tell(str(fault))
    except RedisError as fault:
        return cannot_tell(f"Redis: {str(fault) or type(fault).__name__}")


def _say(verdict: Verdict) -> int:
    """Print the document; whoever has read enough of it takes nothing from the verdict."""
    try:
        print(verdict.as_json(), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return verdict.exit_code


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog=NAME, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--sort", type=Sort, choices=list(Sort), default=Sort.SIGMA, help="the highest first (sigma); age: the youngest"
    )
    parser.add_argument("--once", action="store_true", help="show it once, also on a terminal")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--png", type=Path, metavar="FILE", help="draw the heat map into this file instead")
    instead.add_argument("--json", action="store_true", help="print one JSON document instead")
    parser.add_argument("--every", type=_seconds, default=2.0, metavar="SECONDS", help="how often it is renewed (2)")
    parser.add_argument(
        "--max-age", type=_seconds, default=180.0, metavar="SECONDS", help="an older state is not young any more (180)"
    )
    return parser.parse_args(argv)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.1 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds from 0.1 to 86400")
    return seconds


if __name__ == "__main__":
    sys.exit(guarded(NAME, work, sys.argv[1:]))
