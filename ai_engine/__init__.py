"""Pure numbers: no Redis, no HTTP, no clock, no services, nothing that can trade."""
