"""What is missing of one symbol, and when it is asked for again."""

from hypothesis import given
from hypothesis import strategies as st

from microservices.candle_feed.history import ABSENT_BELIEVED_FIRST_S, LONGEST_PAUSE_S, History
from microservices.candle_feed.planning import Request, Window
from microservices.contracts.candles import INTERVAL_MS

NEWEST = 30_000_000 * INTERVAL_MS
WINDOW = Window(NEWEST - 9 * INTERVAL_MS, NEWEST)


def ago(*minutes: int) -> list[int]:
    """The open times so many minutes before the newest, ascending."""
    return sorted(NEWEST - minute * INTERVAL_MS for minute in minutes)


def ask(oldest: int, newest: int = 0) -> Request:
    """A request for a run of minutes."""
    return Request("A", NEWEST - oldest * INTERVAL_MS, NEWEST - newest * INTERVAL_MS)


def test_everything_is_missing_at_first() -> None:
    """A symbol without candles misses the whole window, one with all of them nothing."""
    assert History().missing(WINDOW, 0) == ago(*range(10))
    assert History(ago(*range(10))).missing(WINDOW, 0) == []


def test_the_window_moves() -> None:
    """What has left the window is forgotten; what has come into it is missing."""
    history = History(ago(*range(20)))
    later = Window(WINDOW.first_ms + INTERVAL_MS, WINDOW.last_ms + INTERVAL_MS)
    assert history.missing(later, 0) == [NEWEST + INTERVAL_MS]
    assert history.stored == set(ago(*range(9)))


def test_a_hole_of_the_exchange_is_believed_for_a_while() -> None:
    """Minutes that an answer lacked are not asked for again until the belief ends."""
    history = History()
    history.answered(ask(9), ago(0, 1, 2, 3, 8), NEWEST, now=100)
    assert history.missing(WINDOW, 101) == []
    assert history.ask_at <= 101
    assert history.missing(WINDOW, 100 + ABSENT_BELIEVED_FIRST_S) == ago(4, 5, 6, 7, 9)


def test_what_is_said_again_is_believed_longer() -> None:
    """30 s, a minute, two, … a quarter of an hour; and anew for another minute, or where a part of it was there."""
    history = History(ago(0, 1, 2, 3))
    now, beliefs = 0.0, []
    for _ in range(7):
        history.answered(ask(9, 4), (), NEWEST, now)
        beliefs.append(next(s for s in range(30, 1_000, 30) if history.missing(WINDOW, now + s)))
        now += beliefs[-1]
    assert beliefs == [30, 60, 120, 240, 480, 900, 900]
    history.answered(ask(9, 6), ago(8), NEWEST, now)
    assert history.missing(WINDOW, now + 899) == ago(4, 5)
    history.answered(ask(5, 4), (), NEWEST, now + 899)
    assert history.missing(WINDOW, now + 900) == ago(6, 7, 9)


def test_a_part_that_is_asked_for_again_does_not_forget_the_rest() -> None:
    """Minutes 9 to 4 are absent; asking for 7 to 6 again leaves both sides believed as they were."""
    history = History(ago(0, 1, 2, 3))
    history.answered(ask(9, 4), (), NEWEST, 0)
    history.answered(ask(7, 6), (), NEWEST, 10)
    assert history.missing(WINDOW, 29) == []
    assert history.missing(WINDOW, 31) == ago(4, 5, 8, 9)
    assert history.missing(WINDOW, 71) == ago(*range(4, 10))


def test_a_late_candle_is_asked_for_soon_and_ever_less_often() -> None:
    """A newest candle that is not there yet stays missing; pauses grow, are bounded, and end with a whole answer."""
    history = History(ago(*range(1, 10)))
    now, pauses = 0.0, []
    for _ in range(8):
        history.answered(ask(1), ago(1), NEWEST, now)
        assert history.missing(WINDOW, now) == ago(0)
        pauses.append(history.ask_at - now)
        now = history.ask_at
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    assert max(pauses) == LONGEST_PAUSE_S
    history.answered(ask(1), ago(0, 1), NEWEST, now)
    history.answered(ask(1), [], NEWEST, now)
    assert history.ask_at == now + 1


def test_gaps_are_counted_as_runs() -> None:
    """Runs of minutes filled between stored ones or up to the newest count; first history and the newest do not."""
    history = History()

    def gaps_filled(request: Request, stored: list[int]) -> int:
        history.missing(WINDOW, 0)
        return history.answered(request, stored, NEWEST, 0)

    assert gaps_filled(ask(5, 5), ago(5)) == 0
    assert gaps_filled(ask(9, 6), ago(9, 8, 7, 6)) == 0
    assert gaps_filled(ask(0), ago(0)) == 0
    history = History(ago(9, 8, 6, 5))
    assert gaps_filled(ask(7), ago(7, 4, 2, 1, 0)) == 3
    history = History(ago(9, 5))
    assert gaps_filled(ask(8, 6), ago(8, 7, 6)) == 1
    assert gaps_filled(ask(9), ago(*range(10))) == 1
    assert gaps_filled(ask(9), ago(*range(10))) == 0


def test_answers_that_overtake_each_other_make_no_gap() -> None:
    """Where deeper history arrives before the newest candles, their arrival fills no gap."""
    history = History()
    history.missing(WINDOW, 0)
    assert history.answered(ask(9, 5), ago(9, 8, 7, 6, 5), NEWEST, 0) == 0
    assert history.answered(ask(4, 0), ago(4, 3, 2, 1, 0), NEWEST, 0) == 0


@given(st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9)), st.integers(0, 9), st.integers(0, 9))
def test_a_minute_is_stored_missing_or_believed_absent(
    stored: set[int], given_back: set[int], one: int, other: int
) -> None:
    """After any answer every minute of the window is stored, missing, or was asked for and not given."""
    history = History(ago(*stored))
    request = ask(max(one, other), min(one, other))
    given_minutes = [minute for minute in ago(*given_back) if request.first_ms <= minute <= request.last_ms]
    history.answered(request, given_minutes, NEWEST, 0)
    missing = set(history.missing(WINDOW, 1))
    assert missing.isdisjoint(history.stored)
    for minute in ago(*range(10)):
        asked_in_vain = request.first_ms <= minute <= request.last_ms and minute not in given_minutes
        assert minute in history.stored or minute in missing or asked_in_vain
    assert set(ago(*stored)) | set(given_minutes) == history.stored


def test_a_candle_continues_what_is_stored_or_known_to_be_absent() -> None:
    """Beside a stored one, in its place, or behind one that the exchange does not have: anything else waits."""
    history = History(ago(*range(9, 4, -1)))
    assert history.continues(ago(5)[0], 0)
    assert history.continues(ago(4)[0], 0)
    assert not history.continues(ago(3)[0], 0)
    history.answered(ask(9), set(ago(*range(9, 4, -1))), NEWEST, 0)
    assert history.continues(ago(3)[0], 0), "the exchange was asked for the one before, and had none"
    assert not history.continues(ago(3)[0], ABSENT_BELIEVED_FIRST_S), "which is believed for a while"


def test_a_candle_that_came_by_stream_stays_known_before_it_is_wanted() -> None:
    """The newest candle is ahead of what is asked for; it neither is missing nor gets forgotten."""
    history = History(ago(*range(10)))
    ahead = NEWEST + INTERVAL_MS
    history.add([ahead])
    assert history.missing(WINDOW, 0) == []
    assert ahead in history.stored
