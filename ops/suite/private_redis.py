"""The run's own Redis, which outlives its clients: services release their leases before it goes.

Usage: python -m ops.suite.private_redis PORT DIRECTORY
"""

import ctypes
import signal
import subprocess
import sys
import threading
import time

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

LEFT_WITHIN_S = 2.2
"""A service ends within 2 s; after that Redis goes whoever is still there."""
POLL_S = 0.05
_PR_SET_PDEATHSIG = 1
"""prctl(2): the signal this process gets when its parent dies."""


def main() -> int:
    """Run redis-server until told to stop and its clients have left; return its exit status."""
    port, directory = sys.argv[1:]
    options = {
        "port": port,
        "bind": "127.0.0.1",
        "dir": directory,
        "save": "",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
    }
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    asked_to_stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked_to_stop.set())
    # In a session of its own, because the runner's signals go to whole process groups; it must not outlive this one.
    command = ["redis-server", *arguments]
    server = subprocess.Popen(command, start_new_session=True, preexec_fn=_die_with_parent)  # noqa: PLW1509 - no threads
    while server.poll() is None and not asked_to_stop.wait(POLL_S):
        pass
    if server.poll() is None:
        _wait_until_alone(int(port))
        server.terminate()
    return server.wait()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait_until_alone(port: int) -> None:
    """Wait until this connection is the last, but not for ever."""
    deadline = time.monotonic() + LEFT_WITHIN_S
    with Redis(port=port, protocol=2, socket_timeout=1, retry=Retry(NoBackoff(), 0)) as redis:
        while time.monotonic() < deadline:
            try:
                if int(redis.info("clients")["connected_clients"]) <= 1:
                    return
            except RedisError:
                return
            time.sleep(POLL_S)


if __name__ == "__main__":
    sys.exit(main())
