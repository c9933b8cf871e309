"""Closed 1-minute candles of every symbol of the universe, in Redis."""
