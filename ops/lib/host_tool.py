"""Ask a tool of this machine that may not be there, may refuse, and may hang."""

import subprocess
from collections.abc import Sequence

TIMEOUT_S = 5.0


def said(command: Sequence[str]) -> str:
    """Give what a tool prints, whatever its exit code; empty where it is not there or does not end in time."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
