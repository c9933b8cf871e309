"""The single source of truth for tradeable symbols (P0)."""
