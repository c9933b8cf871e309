"""Free ports on loopback that stay free until whoever they are meant for listens on them."""

import random
import socket

_PORTS = range(20_000, 30_000)
"""Below those that Linux gives to outgoing connections (32768 on): no client can take one before its server does."""

_CHANCE = random.SystemRandom()
"""No seed: whoever seeds `random`, as hypothesis does, must not lead several processes to the same ports."""


def free_ports(count: int) -> list[int]:
    """Find that many distinct TCP ports on 127.0.0.1 that nothing uses at this moment.

    Raises:
        OSError: there are not so many.
    """
    found: list[int] = []
    for port in _CHANCE.sample(_PORTS, len(_PORTS)):
        if _is_free(port):
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
