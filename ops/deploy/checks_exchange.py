"""Checks of the exchange: whether it can be reached, and whether this machine's clock is the exchange's."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

from ops.deploy import systemd
from ops.deploy.catalog import PAPER_EXCHANGE
from ops.deploy.machine import Finding, one_line
from ops.deploy.scene import Scene

TIMEOUT_S = 5.0
MOST_OFF_MS = 1_000
"""A signed request is refused where it is dated 1 s ahead; the services correct less than that by themselves."""


def check_exchange(scene: Scene) -> Iterator[Finding]:
    """Ask the exchange for its time. The paper exchange is asked only where it runs: a first deploy starts it."""
    urls = {judged.base_url for judged in scene.judged.values() if judged.base_url}
    if scene.mode == "paper" and systemd.show(PAPER_EXCHANGE.service, "ActiveState")["ActiveState"] != "active":
        return
    for url in sorted(urls):
        before = time.time()
        try:
            with urllib.request.urlopen(f"{url}/fapi/v1/time", timeout=TIMEOUT_S) as answer:  # noqa: S310 - http(s) alone: each service has checked its URL
                theirs = float(json.load(answer)["serverTime"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            cause = one_line(getattr(error, "reason", error))
            yield Finding(
                "exchange", f"{url} does not answer: {cause}", f"look at the way there: curl -sS {url}/fapi/v1/time"
            )
            continue
        after = time.time()
        off_ms = round((before + after) / 2 * 1000 - theirs)
        # The answer is of some moment between asking and hearing: only what that cannot explain is the clock's.
        if abs(off_ms) - (after - before) / 2 * 1000 > MOST_OFF_MS:
            what = f"this machine's clock is {off_ms / 1000:+.1f} s off the exchange's"
            yield Finding("clock", what, "timedatectl set-ntp true, and wait until timedatectl says synchronized")
