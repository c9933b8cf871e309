"""Position-state brain (P3.3): permits plans against the exchange's position, keeps what our fills add up to."""
