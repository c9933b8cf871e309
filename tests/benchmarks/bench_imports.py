"""What each dependency costs a process: resident memory and start time above a bare interpreter."""

import statistics
import subprocess
import sys

RUNS = 5
BARE = "pass"
IMPORTS = {
    "redis + hiredis": "import redis, hiredis",
    "requests": "import requests",
    "msgspec": "import msgspec",
    "numpy": "import numpy",
    "prometheus-client": "import prometheus_client",
    "websockets": "import websockets.sync.client",
    "aiohttp": "import aiohttp.web",
    "honcho": "import honcho.manager",
    "rich": "import rich.console, rich.live, rich.table",
    "scipy.stats (tests only)": "import scipy.stats",
}
# VmHWM, because a child's ru_maxrss begins at what its parent had: every dependency would look free behind a large one.
_PROBE = """
import time
begun = time.perf_counter()
{statement}
seconds = time.perf_counter() - begun
print(seconds, next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024)
"""


def cost(statement: str) -> tuple[float, float]:
    """Import in fresh processes; return the medians of milliseconds and of resident megabytes."""
    seconds, megabytes = [], []
    for _ in range(RUNS):
        probe = [sys.executable, "-c", _PROBE.format(statement=statement)]
        printed = subprocess.run(probe, capture_output=True, text=True, check=True).stdout.split()
        seconds.append(float(printed[0]))
        megabytes.append(float(printed[1]))
    return statistics.median(seconds) * 1000, statistics.median(megabytes)


def main() -> None:
    """Print one line a dependency, each alone on top of a bare interpreter."""
    _, bare_mb = cost(BARE)
    print(f"{'dependency':<26} {'memory':>9} {'import':>9}   (bare interpreter {bare_mb:.1f} MB)")
    for name, statement in IMPORTS.items():
        milliseconds, megabytes = cost(statement)
        print(f"{name:<26} {megabytes - bare_mb:>6.1f} MB {milliseconds:>6.0f} ms")


if __name__ == "__main__":
    main()
