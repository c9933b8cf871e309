"""What the executor's metrics server says after plans have ended in every way, and while an order is unresolved."""

import re
from pathlib import Path

from redis import Redis

from microservices.contracts import control
from tests.support.apply_paper import ORDER_PATH, SOL, Desk
from tests.support.apply_process import process
from tests.support.metrics import scraped
from tests.support.paper import PaperExchange
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until


def differing(port: int, wanted: dict[str, int]) -> dict[str, str]:
    """Give the samples that are not as wanted, with what they are; empty where they are not there yet."""
    text = scraped(port)
    seen = {line: re.search(rf"^{re.escape(line)} (\S+)$", text, re.MULTILINE) for line in wanted}
    said = {line: found[1] if found else "" for line, found in seen.items()}
    return {line: said[line] for line, number in wanted.items() if said[line] != f"{number:.1f}"}


def test_waits_orders_errors_and_what_is_unresolved_are_measured(
    redis_server: RedisServer, redis_client: Redis, paper: PaperExchange, tmp_path: Path
) -> None:
    """Counters of every ending, waits per gate, orders by their answer, and gauges of what is open and held up."""
    desk = Desk(redis_client, paper, tmp_path)
    desk.hold(SOL, "3")
    port = free_port()
    with process(redis_server, desk, variables={"APPLY_METRICS_PORT": str(port)}):
        assert desk.world.await_result(desk.exit(), 30).executed
        assert desk.world.await_result(desk.exit("LTCUSDT", "1")).error == "exchange_error_2022"
        assert desk.world.await_result(desk.world.add(decision="SKIP", reason_codes="mine")).error == "mine"
        paper.fault({"fault": "swallow_reply", "times": 1}, {"fault": "drop", "method": "GET", "path": ORDER_PATH})
        unresolved = desk.exit()
        wait_until(desk.queries, 15)
        redis_client.set(control.KILL_SWITCH_KEY, "no_new_risk")
        wanted = {
            'apply_results_total{decision="EXECUTE",error=""}': 1,
            'apply_results_total{decision="ERROR",error="exchange_error_2022"}': 1,
            'apply_results_total{decision="SKIP",error="own"}': 1,
            'apply_gate_wait_seconds_count{gate="p33"}': 3,
            'apply_orders_total{outcome="filled"}': 1,
            'apply_orders_total{outcome="refused"}': 1,
            'apply_orders_total{outcome="unknown"}': 1,
            "apply_unresolved_orders": 1,
            "apply_open_claims": 1,
            "apply_kill_switch": 1,
            "apply_orders_held_up": 0,
        }
        wait_until(lambda: not differing(port, wanted), 15, what="the samples")
        paper.clear_faults()
        assert desk.world.await_result(unresolved, 30).executed
        redis_client.hset(control.BACKOFF_KEY, "orders_until_ms", "99999999999999")
        after = {"apply_unresolved_orders": 0, "apply_open_claims": 0, "apply_orders_held_up": 1}
        wait_until(lambda: not differing(port, after), 15, what="the gauges")
