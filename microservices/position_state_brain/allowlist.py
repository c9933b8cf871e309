"""What is said of the allowlist, word for word, and when. Operators and their scripts search for these lines."""

from typing import NamedTuple

from microservices.contracts.universe_reader import Allowlist, Tier

REPEAT_S = 600.0
FAST_REFRESH_S = 1.0
NONE_AT_START = "FAIL-CLOSED: No valid allowlist loaded - service will deny all permits"
NONE_LINE = "FAIL-CLOSED: No valid allowlist from any source!"
_STALE = {Tier.UNIVERSE: "0", Tier.LAST_OK: "1", Tier.ENV: "env", Tier.NONE: "?"}


class Said(NamedTuple):
    """Of which list the last line was, and when."""

    what: tuple[Tier, int]
    at_s: float


def lines(allowlist: Allowlist, now: float) -> list[str]:
    """Describe the list in force: one line, and one before it that nobody can overlook where there is none."""
    if allowlist.source is Tier.NONE:
        return [NONE_LINE, "P3.3 allowlist source=none stale=? count=0 asof_epoch=? age_s=?"]
    asof = "static" if allowlist.asof_epoch is None else str(allowlist.asof_epoch)
    what = f"source={allowlist.source} stale={_STALE[allowlist.source]} count={allowlist.count}"
    return [f"P3.3 allowlist {what} asof_epoch={asof} age_s={allowlist.age_s(now)}"]


def not_listed_line(symbol: str, source: Tier, plan_id: str) -> str:
    """Say of a refused plan that its symbol is not in the list."""
    return f"{symbol}: Not in allowlist (source={source}) - ACK plan {plan_id[:8]}"


class AllowlistLog:
    """Decides when the list is spoken of: at first, when source, stale or count change, and every ten minutes.

    Stale is a matter of the source: the first tier is never stale, the second always.
    """

    def __init__(self) -> None:
        self._said: Said | None = None

    def due(self, allowlist: Allowlist, monotonic_s: float) -> bool:
        """Tell whether to speak now; a true answer counts as spoken."""
        what = (allowlist.source, allowlist.count)
        if self._said is not None and self._said.what == what and monotonic_s - self._said.at_s < REPEAT_S:
            return False
        self._said = Said(what, monotonic_s)
        return True


def refresh_after_s(allowlist: Allowlist, refresh_s: float, *, env_only: bool) -> float:
    """Tell how long the list may be used unread: less while a better tier may come back."""
    if allowlist.source is Tier.UNIVERSE or env_only:
        return refresh_s
    return min(FAST_REFRESH_S, refresh_s)
