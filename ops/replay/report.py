"""What the replay prints and writes: one state for a person or as JSON, all states as CSV."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ai_engine.market_state import FIELDS, dominant_regime

_BAR_WIDTH = 40


def as_text(title: str, count: int, state: Mapping[str, Any]) -> str:
    """Write one state for a person."""
    probabilities, features, windows = state["regime_probs"], state["features"], state["windows"]
    trend_windows = "/".join(map(str, windows["trend_windows"]))
    lines = [
        f"{title}: {count} prices",
        f"  sigma        {state['sigma']:.8f}   per candle",
        f"  mu          {state['mu']: .8f}   per candle",
        f"  ts           {state['ts']:.6f}",
        "  regime",
        *(f"    {name:<6} {share:6.1%} {'█' * round(share * _BAR_WIDTH)}" for name, share in probabilities.items()),
        f"  features     dp={features['dp']:.6f} vr={features['vr']:.6f} spike_proxy={features['spike_proxy']:.6f}",
        f"  windows      returns={windows['returns_n']} trend={trend_windows} regime={windows['regime_window']}",
        f"  dominant     {dominant_regime(probabilities)}",
    ]
    return "\n".join(lines)


def as_json(title: str, count: int, state: Mapping[str, Any]) -> str:
    """Write one state for a program."""
    return json.dumps(
        {"source": title, "prices": count, **state, "dominant": dominant_regime(state["regime_probs"])}, indent=2
    )


def write_rolling(
    path: Path,
    times: npt.NDArray[np.float64],
    closes: npt.NDArray[np.float64],
    rolling: Mapping[str, npt.NDArray[np.float64]],
) -> int:
    """Write the state at every candle as CSV, a row a candle; return the number of rows.

    Floats are written so that they read back to the same bits.
    """
    rows = len(rolling["sigma"])
    first = len(closes) - rows
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["index", "open_time", "close", *FIELDS, "regime"])
        for row in range(rows):
            index = first + row
            values = {name: float(rolling[name][row]) for name in FIELDS}
            regime = dominant_regime({name: values[f"p_{name}"] for name in ("trend", "mr", "chop")})
            time = "" if np.isnan(times[index]) else f"{times[index]:.0f}"
            writer.writerow([index, time, repr(float(closes[index])), *map(repr, values.values()), regime])
    return rows
