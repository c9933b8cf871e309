"""Deploy, roll back and examine a machine: the standard library alone, since it runs before any release has its own."""
