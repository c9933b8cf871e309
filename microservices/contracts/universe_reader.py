"""The one reader of the universe for every gate and service: three keys in one MULTI, judged by tier, fail-closed."""

from collections.abc import Iterable
from enum import StrEnum

import msgspec
from redis import Redis
from redis.exceptions import ResponseError

from microservices.contracts import universe
from microservices.contracts.control import Mode
from microservices.contracts.fields import Unreadable

FUTURE_TOLERANCE_S = 5


class Tier(StrEnum):
    """Where a list came from, best first."""

    UNIVERSE = "universe"
    LAST_OK = "last_ok"
    ENV = "env"
    NONE = "none"


class UniverseKeys(msgspec.Struct, frozen=True):
    """Under which names the reader looks; other names than the schema's are for drills."""

    active: str = universe.ACTIVE_KEY
    last_ok: str = universe.LAST_OK_KEY
    meta: str = universe.META_KEY


class Allowlist(msgspec.Struct, frozen=True):
    """The symbols that may be traded at one moment, where they came from, and why better tiers were refused."""

    source: Tier
    symbols: frozenset[str] = frozenset()
    asof_epoch: int | None = None
    """None where the list has no date: from the environment, or none at all."""
    refused: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many symbols it holds."""
        return len(self.symbols)

    def age_s(self, now: float) -> int:
        """Tell how old it is, in whole seconds; 0 where it has no date."""
        return 0 if self.asof_epoch is None else int(now - self.asof_epoch)


class UniverseReader:
    """Keep the newest answer of the three keys and judge it anew at every use.

    Args:
        redis: a client whose answers are bytes.
        mode: lists of another mode do not count.
        max_age_s: lists older than this do not count.
        env_symbols: the reader's own list, the third tier; empty for none.
        env_only: use the third tier alone.
        keys: under which names to look.
    """

    def __init__(
        self,
        redis: Redis,
        mode: Mode,
        *,
        max_age_s: float = universe.MAX_AGE_S,
        env_symbols: Iterable[str] = (),
        env_only: bool = False,
        keys: UniverseKeys | None = None,
    ) -> None:
        self._redis = redis
        self._mode = mode
        self._max_age_s = max_age_s
        self._env_symbols = frozenset(env_symbols)
        self._env_only = env_only
        self._keys = keys or UniverseKeys()
        self._raw: tuple[object, object, object] = (None, None, {})
        self._answer = _parse(self._raw, self._keys)

    def refresh(self) -> None:
        """Read the three keys as they stand together.

        Raises:
            redis.exceptions.RedisError: Redis did not answer; the answer before stays, and ages.
        """
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.get(self._keys.active)
        pipeline.get(self._keys.last_ok)
        pipeline.hgetall(self._keys.meta)
        active, last_ok, meta = pipeline.execute(raise_on_error=False)
        if (active, last_ok, meta) != self._raw:
            self._raw = (active, last_ok, meta)
            self._answer = _parse(self._raw, self._keys)

    def current(self, now: float) -> Allowlist:
        """Choose the best tier that is valid at this moment; an empty list from no source where none is."""
        refused = []
        if not self._env_only:
            for tier, document in ((Tier.UNIVERSE, self._answer.active), (Tier.LAST_OK, self._answer.last_ok)):
                why = self._why_refused(tier, document, now)
                if why or not isinstance(document, _Parsed):
                    refused.append(f"{tier}: {why}")
                else:
                    return Allowlist(tier, document.symbols, document.asof_epoch, tuple(refused))
        if self._env_symbols:
            return Allowlist(Tier.ENV, self._env_symbols, None, tuple(refused))
        return Allowlist(Tier.NONE, refused=(*refused, f"{Tier.ENV}: no symbols given"))

    def _why_refused(self, tier: Tier, document: "_Parsed | str", now: float) -> str:
        if isinstance(document, str):
            return document
        if tier is Tier.UNIVERSE and (fault := _meta_fault(self._answer.meta, document)):
            return fault
        if document.mode is not self._mode:
            return f"mode is {document.mode}, expected {self._mode}"
        age_s = now - document.asof_epoch
        if age_s < -FUTURE_TOLERANCE_S:
            return f"asof_epoch is {-age_s:.0f} s in the future"
        if age_s >= self._max_age_s:
            return f"{age_s:.0f} s old, limit {self._max_age_s:.0f} s"
        return "" if document.symbols else "no symbols"


class _Parsed(msgspec.Struct, frozen=True):
    """A list that could be read, with what judging it needs."""

    asof_epoch: int
    mode: Mode
    symbols: frozenset[str]


class _Answer(msgspec.Struct, frozen=True):
    """The three keys, each as what it holds or as a sentence that says why it cannot be used."""

    active: _Parsed | str
    last_ok: _Parsed | str
    meta: universe.UniverseMeta | str


def _parse(raw: tuple[object, object, object], keys: UniverseKeys) -> _Answer:
    active, last_ok, meta = raw
    return _Answer(_document(active, keys.active), _document(last_ok, keys.last_ok), _meta(meta, keys.meta))


def _document(raw: object, key: str) -> _Parsed | str:
    if raw is None:
        return "missing"
    if isinstance(raw, ResponseError):
        return str(raw)
    try:
        document = universe.decode_document(raw, key)
    except Unreadable as fault:
        return str(fault)
    return _Parsed(document.asof_epoch, document.mode, frozenset(document.symbols))


def _meta(raw: object, key: str) -> universe.UniverseMeta | str:
    if not isinstance(raw, dict):
        return f"{key}: {raw}"
    try:
        return universe.decode_meta(raw) or f"{key} is missing"
    except Unreadable as fault:
        return str(fault)


def _meta_fault(meta: universe.UniverseMeta | str, document: _Parsed) -> str:
    """Say why the meta hash does not vouch for the active list; empty where it does."""
    if isinstance(meta, str):
        return meta
    if meta.stale:
        return f"stale=1 ({meta.error or 'no error given'})"
    if meta.count != len(document.symbols):
        return f"meta count is {meta.count}, the list holds {len(document.symbols)}"
    return ""
