"""What a deploy writes into Redis: the binding to the exchange's account, and the kill switch, each once."""

import os
import time

from ops.deploy import systemd
from ops.deploy.catalog import UNITS
from ops.deploy.checks_redis import ACCOUNT_KEY, KILL_SWITCH_KEY, as_operator
from ops.deploy.machine import Fault, last_line, run
from ops.deploy.release import Release
from ops.deploy.scene import Scene, operator_environment
from ops.lib.redis_cli import CannotTell, RedisCli, Word
from ops.lib.redis_cli import Fault as Refusal

INTRODUCED = "kill_switch_introduced"
"""A field of the binding: whether a deploy has once set the kill switch of this Redis to `off`."""
OPEN_CLAIMS_KEY = "quantum:apply:open"
EXCHANGE_WITHIN_S = 30.0
POLL_S = 0.5


def bind_account(scene: Scene, release: Release) -> str:
    """Bind this Redis to the account of the key pair where it is bound to none; say so in one line.

    Raises:
        Fault: the exchange does not name the account, or Redis refused.
    """
    redis = as_operator(scene)
    if _ask(redis, "HEXISTS", ACCOUNT_KEY, "mode"):
        return ""
    environment = operator_environment(scene.files) | {
        "CREDENTIALS_DIRECTORY": str(scene.places.credentials),
        "BINANCE_FUTURES_BASE_URL": scene.judged["position-state-brain"].base_url,
    }
    deadline = time.monotonic() + EXCHANGE_WITHIN_S
    while True:
        done = run("bash", release.path / "ops" / "set_account.sh", "--mode", scene.mode, environment=environment)
        if done.returncode == 0:
            return done.stdout.splitlines()[0] if done.stdout else ""
        # The paper exchange has just been started: it may not listen yet.
        if time.monotonic() > deadline or scene.mode != "paper":
            raise Fault(f"the account cannot be bound: {last_line(done.stderr)}")
        time.sleep(POLL_S)


def introduce_kill_switch(scene: Scene) -> str:
    """Set the kill switch to `off` where it never existed in this Redis, and the money is none; say so in one line."""
    if scene.mode == "mainnet":
        return ""
    redis = as_operator(scene)
    if not _ask(redis, "HSETNX", ACCOUNT_KEY, INTRODUCED, int(time.time())):
        return ""
    if _ask(redis, "SET", KILL_SWITCH_KEY, "off", "NX") is None:
        return ""
    return f"{KILL_SWITCH_KEY} did not exist: set to off"


def reset_account(scene: Scene) -> str:
    """Give up the binding: stop those who trade, and take it away; say so in one line.

    A kill switch that is not there becomes `no_new_risk`, so that what follows does not take the account for a new one.

    Raises:
        Fault: an order may still be on its way, or Redis refused; those who traded trade on.
    """
    redis = as_operator(scene)
    traders = [unit for unit in UNITS if unit.stage > 1]
    running = [unit for unit in traders if systemd.show(unit.service, "ActiveState")["ActiveState"] == "active"]
    systemd.stop(traders)
    try:
        if claims := _ask(redis, "HLEN", OPEN_CLAIMS_KEY):
            raise Fault(
                f"{claims} claims are open in {OPEN_CLAIMS_KEY}: let the apply layer resolve them first; it was stopped"
                " for a moment, and runs again"
            )
        # What was absent stopped opens, and still does: a deploy's `off` was for the account before.
        _ask(redis, "SET", KILL_SWITCH_KEY, "no_new_risk", "NX")
        _ask(redis, "DEL", ACCOUNT_KEY)
    except BaseException:
        systemd.restart_unwatched(running)
        raise
    return f"{ACCOUNT_KEY}: the binding was given up by {os.environ.get('SUDO_USER', 'root')}"


def _ask(redis: RedisCli, *command: Word) -> object:
    try:
        answer = redis.ask(command)[0]
    except CannotTell as fault:
        raise Fault(str(fault)) from None
    if isinstance(answer, Refusal):
        raise Fault(f"Redis refused {command[0]!r}: {answer.text}")
    return answer
