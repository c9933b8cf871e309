"""What the modules share: exit codes, one way to fail, and the audit's side of the talk with the shell."""

import os
import sys
from collections.abc import Callable, Sequence

from redis.exceptions import RedisError

from microservices.contracts.fields import Unreadable
from microservices.runtime import Away, Refused

DONE, CANNOT_TELL, REFUSED = 0, 1, 2
AUDIT_FD = 3
"""What is written here the shell notes in the audit (ops/lib/common.sh)."""


def changed(line: str) -> None:
    """Hand the shell one line on what was changed."""
    os.write(AUDIT_FD, f"{line}\n".encode())


def guarded(name: str, work: Callable[[Sequence[str]], int], argv: Sequence[str]) -> int:
    """Run a module's work; what is away or cannot be read ends it with one line and `CANNOT_TELL`."""
    try:
        return work(argv)
    except (Refused, Away, Unreadable) as fault:
        why = str(fault)
    except RedisError as fault:
        why = f"Redis: {str(fault) or type(fault).__name__}"
    except KeyboardInterrupt:
        why = "interrupted"
    print(f"{name}: {' '.join(why.split())}", file=sys.stderr)
    return CANNOT_TELL
