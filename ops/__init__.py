"""Operator's scripts, and the suite in one window (`make run`)."""
