"""Run the apply layer and kill it, as kill -9 does, after a step: `python -m tests.support.apply_crasher STEP`."""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from microservices.apply_layer.assembly import UNIT
from microservices.apply_layer.intake import Intake
from microservices.apply_layer.scripts import Claimed, Done, Scripts
from microservices.apply_layer.sent_log import SentLog
from microservices.apply_layer.service import build
from microservices.apply_layer.settings import Settings
from microservices.exchange import Order, SignedClient
from microservices.runtime import run

STEPS: dict[str, tuple[type, str, Callable[[Any], bool]]] = {
    "read": (Intake, "_take", lambda _: True),
    "claimed": (Scripts, "consume", lambda answer: isinstance(answer, Claimed)),
    "logged": (SentLog, "append", lambda _: True),
    "marked_sent": (Scripts, "mark_sent", lambda word: word == "sent"),
    "filled": (SignedClient, "new_order", lambda order: isinstance(order, Order)),
    "finished": (Scripts, "finish", lambda answer: isinstance(answer, Done)),
    "end_logged": (SentLog, "end", lambda _: True),
}
"""Every step between reading a plan and having nothing more to do for it, in their order."""

UNSENT = ("logged", "marked_sent")
"""After these the line is there and the POST was not made: only asking, for as long as an order may take, tells."""


def die_after(step: str) -> None:
    """Have this process kill itself as soon as the step has been done."""
    owner, name, is_done = STEPS[step]
    original = getattr(owner, name)

    def fatal(*args: Any, **kwargs: Any) -> Any:
        answer = original(*args, **kwargs)
        if is_done(answer):
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(owner, name, fatal)


if __name__ == "__main__":
    die_after(sys.argv[1])
    sys.exit(run(UNIT, Settings, build, []))
