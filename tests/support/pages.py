"""Pages of the manual and their commands, and a machine on which all of these have something to show."""

import os
import re
import shutil
import subprocess
import time
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from prometheus_client import generate_latest
from redis import Redis

from microservices.contracts import (
    candles,
    claim,
    control,
    decision,
    permit,
    plan,
    position,
    universe,
)
from tests.support.daemon import ROOT
from tests.support.exchange_info import answer, entry
from tests.support.http_server import HttpServer
from tests.support.ops import put_tool
from tests.support.ops_worlds import beat, counting_service, end_plans, publish_states
from tests.support.redis_server import RedisServer
from tests.support.universe_world import World

NOT_RUN = ("# interactive", "# remote")
UNITS = (
    "quantum-universe-service",
    "quantum-candle-feed",
    "quantum-marketstate",
    "quantum-position-state-brain",
    "quantum-apply-layer",
    "quantum-p35-decision-intelligence",
    "redis-server",
)
UNIT_PACKAGES = (
    "universe_service",
    "candle_feed",
    "market_state_publisher",
    "position_state_brain",
    "apply_layer",
    "decision_intelligence",
)


class Command(NamedTuple):
    """One command of a page, its continued lines joined, and the exit code it is said to have."""

    page: str
    line: str
    code: int


def commands(page: Path) -> list[Command]:
    """Read the commands of a page's `sh` blocks in their order, without those for a person or another machine."""
    found = []
    for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        for line in re.sub(r" *\\\n *", " ", block).splitlines():
            said = re.search(r"# exit (\d)$", line)
            if line.strip() and not line.rstrip().endswith(NOT_RUN):
                found.append(Command(page.name, line, int(said[1]) if said else 0))
    return found


def fill(redis: Redis) -> None:
    """Write what the services of a suite at work leave behind, as their contracts name it."""
    now_s = time.time()
    with HttpServer() as server:
        server.say(answer([entry(symbol) for symbol in ("BTCUSDT", "ETHUSDT")]))
        world = World(redis, server)
        world.clock.step(now_s - world.clock.now())
        world.started().refresh()
    status: dict[str, type[msgspec.Struct]] = {
        candles.STATUS_KEY: candles.FeedStatus,
        claim.STATUS_KEY: claim.ApplyStatus,
    }
    for key, kind in status.items():
        redis.hset(key, mapping=dict.fromkeys(kind.__struct_fields__, str(int(now_s))))
    account: dict[Any, Any] = {"ts_ms": int(now_s * 1000), "mode": "paper", "account": "SgsR"}
    redis.hset(position.ACCOUNT_KEY, mapping=account | {"complete": "true", "one_way": "true", "open_positions": "1"})
    redis.hset(position.snapshot_key("BTCUSDT"), mapping={"position_amt": "0.002", "ts_epoch": int(now_s)})
    redis.hset(position.ledger_key("BTCUSDT"), mapping={"position_amt": "0.002"})
    redis.hset(claim.OPEN_KEY, "p1", '{"symbol":"BTCUSDT","action":"OPEN","state":"sent"}')
    redis.hset(control.BACKOFF_KEY, mapping={"throttled_until_ms": "0", "by": "candle-feed"})
    redis.set(control.KILL_SWITCH_KEY, "off")
    redis.set("quantum:reconcile:hold:BTCUSDT", "brain:drift")
    redis.zadd(candles.key("BTCUSDT"), {'{"t":0}': 0})
    for stream in (permit.EVENTS, decision.DEAD_LETTER_STREAM, plan.STREAM):
        redis.xadd(stream, {"plan_id": "p1", "symbol": "BTCUSDT", "reason": "no_allowlist", "allow": "false"})
    redis.xgroup_create(plan.STREAM, plan.GROUP_BRAIN, "0")
    stay_at_work(redis)
    assert redis.exists(universe.ACTIVE_KEY)


def stay_at_work(redis: Redis) -> None:
    """Write again what the services write every few seconds, for as long as commands are run."""
    beat(redis)
    publish_states(redis, ["BTCUSDT"], age_s=0)
    end_plans(redis)
    counting_service(redis)


def metrics_of_all_services() -> bytes:
    """Give what the services' metrics are called and mean, as a fresh process of each would serve it."""
    for package in UNIT_PACKAGES:
        import_module(f"microservices.{package}.metrics")
    return generate_latest()


class Machine:
    """A copy of the checkout with a repository and ledger of its own, and units that systemd says are active."""

    def __init__(self, folder: Path, redis: RedisServer) -> None:
        self.root = folder / "quantum_trader"
        self.redis = redis
        shutil.copytree(ROOT / "ops", self.root / "ops", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(ROOT / "docs", self.root / "docs")
        tools = folder / "tools"
        tools.mkdir()
        units = "|".join(f"{unit}|{unit}.service" for unit in UNITS)
        known = f'for word in "$@"; do case $word in {units}) known=1;; quantum-*|redis*) exit 9;; esac; done'
        put_tool(tools, "systemctl", f"{known}; [[ $known == 1 ]] || exit 9; echo active")
        put_tool(tools, "journalctl", f'{known}; [[ $known == 1 ]] || exit 9; echo "started, 2 symbols"')
        (folder / "metrics").write_bytes(metrics_of_all_services())
        put_tool(
            tools, "curl", f"[[ $* =~ ^-s\\ http://127.0.0.1:80[0-9]{{2}}/metrics$ ]] || exit 9; cat {folder}/metrics"
        )
        put_tool(tools, "redis-cli", f'exec {shutil.which("redis-cli")} -p {redis.port} "$@"')
        self.environment = {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "REDIS_PORT": str(redis.port),
            "P33_METRICS_PORT": "0",
            "P35_METRICS_PORT": "0",
            "GIT_CONFIG_GLOBAL": "/dev/null",
        } | dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"), "op")
        for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "as deployed"]):
            subprocess.run(["git", *words], cwd=self.root, env=self.environment, check=True)

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run one command as an operator types it, from the checkout."""
        return subprocess.run(
            ["bash", "-c", line],
            env=self.environment,
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
