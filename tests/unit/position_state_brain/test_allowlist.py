"""The allowlist's lines, letter for letter, and when they are said."""

import pytest

from microservices.contracts.universe_reader import Allowlist, Tier
from microservices.position_state_brain.allowlist import AllowlistLog, lines, not_listed_line, refresh_after_s

SYMBOLS = frozenset(f"S{number}USDT" for number in range(566))


@pytest.mark.parametrize(
    ("allowlist", "now", "expected"),
    [
        (
            Allowlist(Tier.UNIVERSE, SYMBOLS, 1769920585),
            1769920625.9,
            ["P3.3 allowlist source=universe stale=0 count=566 asof_epoch=1769920585 age_s=40"],
        ),
        (
            Allowlist(Tier.LAST_OK, SYMBOLS, 1769920500),
            1769920625.0,
            ["P3.3 allowlist source=last_ok stale=1 count=566 asof_epoch=1769920500 age_s=125"],
        ),
        (
            Allowlist(Tier.ENV, frozenset({"BTCUSDT"})),
            1769920625.0,
            ["P3.3 allowlist source=env stale=env count=1 asof_epoch=static age_s=0"],
        ),
        (
            Allowlist(Tier.NONE),
            1769920625.0,
            [
                "FAIL-CLOSED: No valid allowlist from any source!",
                "P3.3 allowlist source=none stale=? count=0 asof_epoch=? age_s=?",
            ],
        ),
    ],
)
def test_the_lines_are_exact(allowlist: Allowlist, now: float, expected: list[str]) -> None:
    """Operators and their scripts search for them."""
    assert lines(allowlist, now) == expected


def test_the_line_of_a_refused_plan_is_exact() -> None:
    """With the first eight letters of its plan id."""
    assert not_listed_line("DOGEUSDT", Tier.UNIVERSE, "0123456789ab") == (
        "DOGEUSDT: Not in allowlist (source=universe) - ACK plan 01234567"
    )


def test_the_list_is_spoken_of_when_something_changes_and_every_ten_minutes() -> None:
    """A new date alone is no news; another source or count is."""
    log = AllowlistLog()
    universe = Allowlist(Tier.UNIVERSE, frozenset({"A", "B"}), 1)
    assert log.due(universe, 0)
    assert not log.due(universe, 1)
    assert not log.due(Allowlist(Tier.UNIVERSE, frozenset({"A", "C"}), 2), 599)
    assert log.due(universe, 600)
    assert log.due(Allowlist(Tier.UNIVERSE, frozenset({"A"}), 3), 601)
    assert log.due(Allowlist(Tier.LAST_OK, frozenset({"A"}), 3), 602)
    assert log.due(Allowlist(Tier.NONE), 603)
    assert not log.due(Allowlist(Tier.NONE), 604)


@pytest.mark.parametrize(
    ("tier", "env_only", "expected"),
    [
        (Tier.UNIVERSE, False, 60.0),
        (Tier.LAST_OK, False, 1.0),
        (Tier.ENV, False, 1.0),
        (Tier.NONE, False, 1.0),
        (Tier.ENV, True, 60.0),
    ],
)
def test_while_the_best_tier_is_missing_it_is_looked_for_every_second(
    tier: Tier, *, env_only: bool, expected: float
) -> None:
    """An outage of the universe ends for the brain when it ends."""
    assert refresh_after_s(Allowlist(tier), 60.0, env_only=env_only) == expected
