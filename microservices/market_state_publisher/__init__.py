"""Publishes market state of every symbol (P0.5): telemetry alone, no intent, nothing that can order."""
