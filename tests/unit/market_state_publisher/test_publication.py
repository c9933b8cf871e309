"""What is published and logged of a state."""

import numpy as np

from ai_engine.market_state import MarketState
from microservices.contracts.market_state import Regime, Source
from microservices.market_state_publisher import publication
from microservices.market_state_publisher.candle_window import Skipped, SkipReason, Window

CLOSES = 100 * np.exp(0.001 * np.arange(300))


def test_a_row_holds_the_state_s_numbers() -> None:
    """Every number of the row is the state's; regime, buffer and times are the window's."""
    state = MarketState().get_state("BTCUSDT", CLOSES)
    assert state is not None
    row = publication.row_of(state, Window(CLOSES, 1_800_000_000), Source.SYNTHETIC, 1_800_000_002.7)
    assert (row.sigma, row.mu, row.ts) == (state["sigma"], state["mu"], state["ts"])
    assert (row.p_trend, row.p_mr, row.p_chop) == tuple(state["regime_probs"].values())
    assert (row.dp, row.vr, row.spike_proxy) == tuple(state["features"].values())
    assert (row.regime, row.source, row.buffer_size) == (Regime.TREND, Source.SYNTHETIC, 300)
    assert (row.ts_timestamp, row.candle_close_epoch) == (1_800_000_002, 1_800_000_000)
    assert (row.flat_share, row.gap_count, row.mu_low, row.mu_high) == (0.0, 0, None, None)
    assert publication.symbol_line("BTCUSDT", row) == (
        "BTCUSDT: σ=0.000982 μ=0.001000 TS=1.0183 regime=trend(79.2%) buffer=300"
    )


def test_skips_are_counted_and_named() -> None:
    """Reasons are counted by name; a line names the symbols, ten of them, and how many more."""
    skipped = {f"S{index:02}USDT": Skipped(SkipReason.STALE, "900 s") for index in range(12)}
    skipped["AUSDT"] = Skipped(SkipReason.SHORT, "3 candles, 257 needed")
    assert publication.count_reasons(skipped) == {"short": 1, "stale": 12}
    assert publication.summary_line(5, skipped, 41) == "Published 5 symbols, skipped 13 (short 1, stale 12), 41 ms"
    assert publication.summary_line(5, {}, 41) == "Published 5 symbols, skipped 0, 41 ms"
    line = publication.skipped_line(skipped)
    assert line.startswith("Not published: AUSDT short (3 candles, 257 needed), S00USDT stale (900 s), ")
    assert line.endswith(", and 3 more")
