"""Add plans to a suite at work, through whatever happens to Redis: run as `python -m tests.support.plan_load COUNT`.

Prints the entry ids as JSON. A plan whose XADD got no answer is added again, under the same plan id.
"""

import json
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from microservices.contracts.fields import WrittenFields

SYMBOL = "XRPUSDT"
EVERY_S = 0.1
GIVE_UP_S = 60.0


def main() -> int:
    """Add them."""
    file = Path("/etc/quantum/redis/strategy")
    password = file.read_text() if file.exists() else None
    redis = Redis(username="strategy" if password else None, password=password, protocol=2, socket_timeout=5)
    newest: Any = redis.zrange(f"quantum:candles:{SYMBOL}", -1, -1)
    quantity = int(30 / float(json.loads(newest[0])["c"])) + 1
    ids = [_add(redis, number, quantity) for number in range(int(sys.argv[1]))]
    print(json.dumps(ids))  # noqa: T201 - its one result
    return 0


def _add(redis: Redis, number: int, quantity: int) -> str:
    opens = number % 2 == 0
    fields: WrittenFields = {
        "plan_id": f"load-{uuid.uuid4().hex}",
        "symbol": SYMBOL,
        "decision": "EXECUTE",
        "action": "OPEN" if opens else "FULL_CLOSE_PROPOSED",
        "side": "BUY" if opens else "SELL",
        "reduceOnly": "false" if opens else "true",
        "qty": str(quantity if opens else 0),
    }
    deadline = time.monotonic() + GIVE_UP_S
    while True:
        try:
            added: Any = redis.xadd("quantum:stream:apply.plan", fields | {"timestamp": str(int(time.time()))})
        except RedisError:
            if time.monotonic() > deadline:
                raise
        else:
            time.sleep(EVERY_S)
            return str(added, "ascii")
        time.sleep(EVERY_S)


if __name__ == "__main__":
    sys.exit(main())
