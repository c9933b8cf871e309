"""P3.5: counts every result of the apply layer exactly once, per minute and over rolling windows."""
