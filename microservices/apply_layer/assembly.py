"""Put the apply layer's parts together, once it is known whose orders these are and who the instance is."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from microservices.apply_layer.closing import Closer
from microservices.apply_layer.gates import GatePolicy
from microservices.apply_layer.housekeeping import Heartbeat, Housekeeping
from microservices.apply_layer.instruments import Instruments
from microservices.apply_layer.intake import Intake
from microservices.apply_layer.judging import Judge
from microservices.apply_layer.orders import OrderWorker
from microservices.apply_layer.recovery import Recovery, Rules
from microservices.apply_layer.register import Register
from microservices.apply_layer.resolver import Resolver
from microservices.apply_layer.scripts import Limits, Scripts
from microservices.apply_layer.sent_log import SentLog
from microservices.apply_layer.settings import Settings
from microservices.apply_layer.waiting import WaitLimits
from microservices.apply_layer.wakeups import Wakeups
from microservices.apply_layer.watching import Watch
from microservices.contracts.account import AccountBinding
from microservices.exchange import SharedBackoff, SignedClient
from microservices.runtime import Clock, Loop, SingleInstance

UNIT = "quantum-apply-layer"


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What the apply layer is given: settings, connections, clock, and who it is."""

    settings: Settings
    redis: Redis
    client: SignedClient
    clock: Clock
    build: str
    instance: SingleInstance
    sent_log: SentLog
    backoff: SharedBackoff


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the service itself still needs of what was put together."""

    register: Register
    recovery: Recovery
    loops: Sequence[Loop]


def assemble(given: Surroundings, binding: AccountBinding, check: Callable[[], None]) -> Parts:
    """Make all parts and their loops.

    Args:
        given: what there is already; the instance holds its lease.
        binding: whose orders these are.
        check: raises where this Redis is not ours (any more).
    """
    settings, redis, clock = given.settings, given.redis, given.clock
    register = Register(
        WaitLimits(settings.apply_permit_wait_ms / 1000, settings.apply_exit_wait_ms / 1000), settings.apply_workers
    )
    limits = Limits(settings.apply_plan_max_age_s, settings.apply_max_notional_usdt, settings.apply_max_positions)
    scripts = Scripts(redis, binding, limits, given.instance.instance_id)
    closer = Closer(scripts, given.sent_log, register, clock, settings.trading_mode)
    resolver = Resolver(given.client, closer, given.backoff, clock)
    recovery = Recovery(
        redis,
        scripts,
        given.sent_log,
        register=register,
        resolver=resolver,
        clock=clock,
        rules=Rules(settings.is_dry_run, settings.apply_stream_keep_h),
        check=check,
    )
    judge = Judge(
        redis,
        scripts,
        register,
        closer=closer,
        resolver=resolver,
        recovery=recovery,
        clock=clock,
        is_dry_run=settings.is_dry_run,
    )
    core = _Core(given, register, scripts, closer, resolver, recovery, threading.Event())
    loops = [
        *_reading(core),
        Loop("judge", judge.tick, wake=core.judge_wake),
        *(_worker(core, number) for number in range(1, settings.apply_workers + 1)),
        _resolving(resolver),
        *_beside(core),
    ]
    return Parts(register=register, recovery=recovery, loops=[_watched(loop, recovery) for loop in loops])


@dataclass(frozen=True)
class _Core:
    given: Surroundings
    register: Register
    scripts: Scripts
    closer: Closer
    resolver: Resolver
    recovery: Recovery
    judge_wake: threading.Event


def _reading(core: _Core) -> list[Loop]:
    settings = core.given.settings
    intake = Intake(
        core.given.redis,
        core.register,
        core.closer,
        is_ours=core.given.instance.is_ours,
        sent_log=core.given.sent_log,
        recovery=core.recovery,
        gates=GatePolicy(settings.trading_mode, settings.apply_gates_open, settings.apply_gates_exit),
        clock=core.given.clock,
        max_age_s=settings.apply_plan_max_age_s,
        wake_judge=core.judge_wake.set,
    )
    wakeups = Wakeups(core.given.redis, core.register, core.recovery, core.judge_wake.set)
    return [Loop("intake", intake.tick), Loop("wakeups", wakeups.tick)]


def _worker(core: _Core, number: int) -> Loop:
    worker = OrderWorker(
        core.register,
        core.scripts,
        core.given.sent_log,
        core.given.client,
        instruments=Instruments(core.given.redis),
        backoff=core.given.backoff,
        closer=core.closer,
        resolver=core.resolver,
        timeout_s=core.given.settings.apply_order_timeout_ms / 1000,
        on_free=core.judge_wake.set,
    )
    loop = Loop(f"worker-{number}", worker.tick)
    worker.wake = loop.wake.set
    return loop


def _resolving(resolver: Resolver) -> Loop:
    loop = Loop("resolver", resolver.tick)
    resolver.wake = loop.wake.set
    return loop


def _beside(core: _Core) -> list[Loop]:
    given = core.given
    heartbeat = Heartbeat(
        given.redis,
        given.instance,
        core.recovery,
        core.register,
        watch=Watch(given.redis, given.backoff),
        clock=given.clock,
        mode=given.settings.trading_mode,
        build=given.build,
    )
    house = Housekeeping(
        given.redis,
        given.client,
        given.sent_log,
        backoff=given.backoff,
        clock=given.clock,
        stream_keep_h=given.settings.apply_stream_keep_h,
    )
    return [Loop("heartbeat", heartbeat.tick), Loop("clock", house.sync_clock), Loop("trim", house.trim)]


def _watched(loop: Loop, recovery: Recovery) -> Loop:
    """Have every lost connection followed by a comparison of `sent.log` with Redis."""
    tick = loop.tick

    def watched() -> float:
        try:
            return tick()
        except (RedisConnectionError, RedisTimeoutError) as error:
            recovery.request(f"the connection to Redis was lost ({type(error).__name__})")
            raise

    loop.tick = watched
    return loop
