"""When cycles run: phase-locked to the wall clock, so that no drift adds up and every machine publishes together."""

PHASE_S = 2.0
"""Cycles run this long after a multiple of the interval: the minute's candle has been stored by then."""


def until_next_cycle_s(now: float, interval_s: float) -> float:
    """Give the seconds until the next multiple of the interval plus the phase; never 0."""
    since_last = (now - PHASE_S) % interval_s
    return interval_s - since_last
