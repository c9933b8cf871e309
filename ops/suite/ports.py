"""Free ports on loopback that stay free until whoever they are meant for listens on them."""

import errno
import os
import random
import socket
from collections import deque

_PORTS = range(20_000, 30_000)
"""Below those that Linux gives to outgoing connections (32768 on): no client can take one before its server does."""

_CHANCE = random.SystemRandom()
"""No seed: whoever seeds `random`, as hypothesis does, must not lead several processes to the same ports."""

_CLAIMS_KEPT = 256
_claims: deque[int] = deque()
"""File descriptors of the newest claims; the kernel gives up those of a process that ends, however it ends."""


def free_ports(count: int) -> list[int]:
    """Find that many distinct TCP ports on 127.0.0.1 that nothing uses at this moment, and claim them.

    A port is chosen seconds before somebody listens on it. A claimed one is given to nobody else until then: to no
    other process that asks here while this one lives, and not twice by this one within its next 256 ports.

    Raises:
        OSError: there are not so many.
    """
    found: list[int] = []
    for port in _CHANCE.sample(_PORTS, len(_PORTS)):
        if _is_free(port) and _claim(port):
            found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"no {count} free ports from {_PORTS.start} to {_PORTS.stop - 1}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _claim(port: int) -> bool:
    """Take a name that only one process can have; where there are no such names (not Linux) nothing is claimed."""
    with socket.socket(socket.AF_UNIX) as claim:
        try:
            claim.bind(f"\0quantum-port-{port}")
        except OSError as error:
            return error.errno != errno.EADDRINUSE
        _claims.append(claim.detach())
    if len(_claims) > _CLAIMS_KEPT:
        os.close(_claims.popleft())
    return True
