"""Recorded candles, where this machine has any: in QUANTUM_RECORDED_DATA, or in ../shared/data beside the checkout."""

import os
from pathlib import Path

from ai_engine.prices import Floats
from ops.replay.price_files import BadPrices, read_histories

_ROOT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("QUANTUM_RECORDED_DATA") or _ROOT.parent / "shared" / "data") / "klines"
FILES = sorted(path for path in FOLDER.glob("*") if path.is_file())


def histories(path: Path, least: int) -> dict[str, Floats]:
    """Read the closes of every symbol of a file that has at least so many, all of them prices a market has."""
    try:
        found = read_histories(str(path))
    except BadPrices:
        return {}
    return {name: each.closes for name, each in found.items() if len(each.closes) >= least and (each.closes > 0).all()}
