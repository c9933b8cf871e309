"""Free ports on loopback."""

from ops.suite.ports import free_ports


def free_port() -> int:
    """Return a TCP port on 127.0.0.1 that nothing uses, and that no outgoing connection will take."""
    return free_ports(1)[0]
