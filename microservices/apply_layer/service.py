"""The apply layer as a service: become the one instance, put right what a crash left, then run its loops."""

import logging
from collections.abc import Sequence

from redis import Redis

from microservices.apply_layer.assembly import UNIT, Parts, Surroundings, assemble
from microservices.apply_layer.sent_log import SentLog
from microservices.apply_layer.settings import ApplyMode, Settings
from microservices.contracts import account, claim
from microservices.contracts.account import AccountBinding
from microservices.contracts.control import BACKOFF_KEY
from microservices.exchange import BackoffLevel, SharedBackoff, SignedClient
from microservices.runtime import Away, Clock, Context, Loop, Refused, SingleInstance

logger = logging.getLogger(__name__)


class ApplyLayer:
    """Take plans, wait for their permits, send each at most one order, and write exactly one result for each entry.

    Args:
        settings: what it was told.
        redis: a client whose answers are bytes.
        client: the exchange.
        clock: wall and monotonic time.
        build: version and commit.
        backoff: the back-off that all services share.
    """

    def __init__(
        self,
        settings: Settings,
        redis: Redis,
        client: SignedClient,
        *,
        clock: Clock,
        build: str,
        backoff: SharedBackoff,
    ) -> None:
        self._given = Surroundings(
            settings=settings,
            redis=redis,
            client=client,
            clock=clock,
            build=build,
            instance=SingleInstance(redis, settings.state_path, claim.LEASE_KEY, clock),
            sent_log=SentLog(settings.state_path),
            backoff=backoff,
        )
        self._parts: Parts | None = None

    def prepare(self) -> None:
        """Become the one instance of this account, and put right what a crash has left.

        Raises:
            Refused: another process runs, this Redis is not this account's, or `sent.log` cannot be read.
            LeaseHeld: another instance holds the lease; it is waited for.
            ExchangeError: the exchange did not name the account; it is asked again.
            Away: the exchange has banned us, or it cannot be read whether it has: it is asked when that is over.
            redis.exceptions.RedisError: Redis is away.
        """
        given = self._given
        given.instance.acquire()
        banned_s = given.backoff.remaining_s(BackoffLevel.ORDERS)
        if banned_s > 0:
            raise Away(f"the exchange, which may not be asked for {banned_s:.0f} s more")
        binding = AccountBinding(
            given.settings.trading_mode, account.host_of(given.settings.base_url), given.client.account_alias()
        )
        given.client.sync_time()
        self._check(binding)
        if self._parts is None:
            given.sent_log.open()
            self._parts = assemble(given, binding, lambda: self._check(binding))
            _announce(given.settings, binding)
        self._parts.recovery.run()

    def loops(self) -> Sequence[Loop]:
        """Give the loops: intake, wake-ups, judge, workers, resolver, heartbeat, the exchange's clock, trimming."""
        return () if self._parts is None else self._parts.loops

    def status_line(self) -> str:
        """Say what is in hand."""
        mode = self._given.settings.apply_mode
        if self._parts is None:
            return f"{mode}: not prepared"
        register = self._parts.register
        return f"{mode}: {register.waiting_count} plans waiting, {register.unresolved_count} orders unresolved"

    def close(self) -> None:
        """Let go of the lease, the lock file and the connections; what is on its way is taken up by the next start."""
        self._given.client.close()
        self._given.sent_log.close()
        self._given.instance.release()

    def _check(self, binding: AccountBinding) -> None:
        if not self._given.instance.is_ours():
            raise Away(f"the lease {claim.LEASE_KEY} is not ours")
        refusal = account.refusal(self._given.redis, binding)
        if refusal:
            raise Refused(refusal)


def _announce(settings: Settings, binding: AccountBinding) -> None:
    """Say what this process is, and on mainnet what it is about to be able to do."""
    logger.info(
        "Apply layer starting: mode %s on %s, account %s, apply mode %s, gates open=%s exit=%s",
        binding.mode,
        binding.host,
        binding.account,
        settings.apply_mode,
        ",".join(settings.apply_gates_open),
        ",".join(settings.apply_gates_exit),
    )
    if settings.apply_mode is ApplyMode.MAINNET:
        logger.warning(
            "MAINNET: this process can place market orders for real money on account %s at %s: opens up to %s USDT"
            " each and %d positions, exits of any size",
            binding.account,
            binding.host,
            settings.apply_max_notional_usdt,
            settings.apply_max_positions,
        )


def build(context: Context[Settings]) -> ApplyLayer:
    """Make the service of its parts."""
    settings = context.settings
    backoff = SharedBackoff(context.redis, BACKOFF_KEY, UNIT)
    client = SignedClient(
        settings.base_url,
        settings.binance_api_key,
        settings.binance_api_secret,
        clock=context.clock,
        timeout_s=settings.apply_order_timeout_ms / 1000,
        backoff=backoff,
    )
    return ApplyLayer(settings, context.redis, client, clock=context.clock, build=context.build, backoff=backoff)
