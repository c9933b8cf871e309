"""What `ops/replay_market_state.py` is made of: price files, synthetic prices, the report, the chart."""
