"""`make run`: every service as a process of its own on a private Redis and the paper exchange, watched and judged."""
