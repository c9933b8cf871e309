"""Regime and volatility of all symbols at a glance: in a terminal, or as a picture."""
