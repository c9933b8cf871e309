"""What the operator's scripts do that need the suite's own packages: each module is run by the script of its name."""
