"""Turn a computed state into what is published and what is logged."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ai_engine.market_state import dominant_regime
from ai_engine.uncertainty import Interval, quality
from microservices.contracts.market_state import MarketStateRow, Regime, Source
from microservices.market_state_publisher.candle_window import Skipped, Window

_NAMED_AT_MOST = 10


def row_of(
    state: Mapping[str, Any], window: Window, source: Source, now: float, interval: Interval | None = None
) -> MarketStateRow:
    """Make the published row of a state that `get_state` computed from the window's closes.

    Args:
        state: the state.
        window: what it was computed from.
        source: where the closes came from.
        now: wall time in epoch seconds.
        interval: bounds of mu, where they were asked for.
    """
    probabilities, features = state["regime_probs"], state["features"]
    return MarketStateRow(
        sigma=state["sigma"],
        mu=state["mu"],
        ts=state["ts"],
        p_trend=probabilities["trend"],
        p_mr=probabilities["mr"],
        p_chop=probabilities["chop"],
        dp=features["dp"],
        vr=features["vr"],
        spike_proxy=features["spike_proxy"],
        ts_timestamp=int(now),
        buffer_size=len(window.closes),
        regime=Regime(dominant_regime(probabilities)),
        source=source,
        candle_close_epoch=window.close_epoch,
        flat_share=quality(window.closes).flat_share,
        gap_count=window.gap_count,
        mu_low=None if interval is None else interval.low,
        mu_high=None if interval is None else interval.high,
    )


def symbol_line(symbol: str, row: MarketStateRow) -> str:
    """Say one symbol's state in one line."""
    share = {Regime.TREND: row.p_trend, Regime.MR: row.p_mr, Regime.CHOP: row.p_chop}[row.regime]
    return (
        f"{symbol}: σ={row.sigma:.6f} μ={row.mu:.6f} TS={row.ts:.4f} "
        f"regime={row.regime.value}({share:.1%}) buffer={row.buffer_size}"
    )


def count_reasons(skipped: Mapping[str, Skipped]) -> dict[str, int]:
    """Count skipped symbols by reason."""
    return dict(sorted(Counter(skip.reason.value for skip in skipped.values()).items()))


def summary_line(published: int, skipped: Mapping[str, Skipped], cycle_ms: int) -> str:
    """Say one cycle in one line."""
    reasons = ", ".join(f"{name} {count}" for name, count in count_reasons(skipped).items())
    return f"Published {published} symbols, skipped {len(skipped)}{f' ({reasons})' if reasons else ''}, {cycle_ms} ms"


def skipped_line(skipped: Mapping[str, Skipped]) -> str:
    """Name skipped symbols with what is wrong with each, the first ten of them."""
    named = [f"{symbol} {skip.reason.value} ({skip.detail})" for symbol, skip in sorted(skipped.items())]
    more = f", and {len(named) - _NAMED_AT_MOST} more" if len(named) > _NAMED_AT_MOST else ""
    return f"Not published: {', '.join(named[:_NAMED_AT_MOST])}{more}"
