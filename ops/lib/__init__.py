"""What the operator's scripts share: the shell's side in common.sh, the judging in Python's standard library alone."""
