"""One loop's life: what is counted, logged, waited for, and when it counts as hung."""

import logging
import threading
from collections.abc import Callable, Iterator

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from microservices.runtime import Away, Loop, Refused, SettingError, progress
from microservices.runtime.daemon import OVERDUE_S, QUIET_S, LoopRunner
from microservices.runtime.metrics import LOOP_ERRORS, LOOP_FAILING
from microservices.runtime.pauses import LONGEST_S
from tests.support.clock import FakeClock
from tests.support.waiting import wait_until


class Script:
    """A tick that returns or raises what it is told, one after another, and the last again and again."""

    def __init__(self, *outcomes: float | Exception) -> None:
        self.outcomes = list(outcomes)
        self.calls = 0

    def __call__(self) -> float:
        self.calls += 1
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def runner(
    tick: Callable[[], float],
    clock: FakeClock,
    stop: threading.Event | None = None,
    *,
    name: str = "demo",
    ends: list[Exception] | None = None,
) -> LoopRunner:
    noted: list[Exception] = [] if ends is None else ends
    return LoopRunner(Loop(name, tick, max_tick_s=25.0), stop or threading.Event(), clock, noted.append)


def messages(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in caplog.records]


def test_a_good_iteration_pauses_as_it_says(clock: FakeClock) -> None:
    """The tick's own number is the pause; a negative one is none."""
    loop = runner(Script(1.5, -3.0), clock)
    assert loop.step() == 1.5
    assert loop.step() == 0.0
    assert loop.trouble is None


def test_pauses_grow_while_it_fails_and_are_bounded(clock: FakeClock) -> None:
    """A server that struggles is asked less and less often, but never left alone for long."""
    loop = runner(Script(RedisConnectionError("refused")), clock)
    pauses = [loop.step() for _ in range(12)]
    assert pauses[0] < 0.3
    assert pauses[-1] > pauses[0] * 10
    assert max(pauses) <= LONGEST_S


def test_an_outage_is_one_warning_and_one_recovery(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    """However long it lasts, an operator reads two lines, the second with duration and count."""
    loop = runner(Script(*[RedisConnectionError(f"try {i}") for i in range(50)], 0.0), clock)
    with caplog.at_level(logging.INFO):
        for _ in range(51):
            loop.step()
            clock.advance(2)
    assert messages(caplog) == [
        ("WARNING", "demo: ConnectionError: try 0; trying again"),
        ("INFO", "demo: going on after 100.0 s and 50 failed attempts (ConnectionError)"),
    ]
    assert all(record.exc_info is None for record in caplog.records)


def test_another_kind_of_trouble_is_said_once(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    """Two kinds that alternate for an hour are two lines."""
    errors = [RedisConnectionError("a"), RedisTimeoutError("b")] * 100
    loop = runner(Script(*errors), clock)
    for _ in errors:
        loop.step()
        clock.advance(18)
    assert [message for _, message in messages(caplog)] == [
        "demo: ConnectionError: a; trying again",
        "demo: TimeoutError: b; trying again",
    ]


def test_a_bug_is_an_error_with_its_traceback_once_per_place(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The loop goes on, and the line that raised is in the log, not once per iteration."""

    def first() -> float:
        raise KeyError("symbol")

    def second() -> float:
        raise KeyError("price")

    ticks = [first, first, first, second, second]

    def tick() -> float:
        return ticks.pop(0)()

    loop = runner(tick, clock)
    for _ in range(5):
        loop.step()
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert all(record.exc_info for record in caplog.records)


def test_trouble_that_comes_and_goes_does_not_flood(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    """A loop that fails every other time is said to fail at most every 10 s."""
    outcomes: list[float | Exception] = [Away("x"), 0.0]
    loop = runner(Script(*outcomes * 500), clock)
    with caplog.at_level(logging.INFO):
        for _ in range(1000):
            loop.step()
            clock.advance(0.1)
    assert 10 <= len(caplog.records) <= 2 * (100 / QUIET_S + 1)


def test_trouble_that_began_in_a_quiet_time_is_said_when_it_lasts(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Quiet is not silence: what goes on failing is logged in the end, and its end too."""
    loop = runner(Script(Away("x"), 0.0, *[Away("y")] * 30, 0.0), clock)
    with caplog.at_level(logging.INFO):
        for _ in range(33):
            loop.step()
            clock.advance(1)
    assert [message.split(" ")[1] for _, message in messages(caplog)] == ["Away:", "going", "Away:", "going"]
    assert "30.0 s and 30 failed attempts" in messages(caplog)[-1][1]


def test_failures_are_counted_by_loop_and_class(clock: FakeClock) -> None:
    """Metrics tell which loop fails with what, and whether it does now."""
    loop = runner(Script(ValueError("x"), Away("y"), Away("y"), 0.0), clock, name="counted")

    def failing() -> float:
        value: float = LOOP_FAILING.labels(loop="counted")._value.get()
        return value

    before = failing()
    for _ in range(3):
        loop.step()
    while_failing = failing()
    loop.step()
    assert (before, while_failing, failing()) == (0, 1, 0)
    assert LOOP_ERRORS.labels(loop="counted", error="ValueError")._value.get() == 1
    assert LOOP_ERRORS.labels(loop="counted", error="Away")._value.get() == 2


@pytest.mark.parametrize("error", [Refused("the account is another one"), SettingError("A", "b", "c")])
def test_what_cannot_be_retried_ends_the_daemon(
    error: Exception, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A refusal is handed to the supervisor, which logs its one line."""
    ends: list[Exception] = []
    runner(Script(error), clock, ends=ends).step()
    assert ends == [error]
    assert caplog.records == []


def test_an_iteration_within_its_time_is_progress_and_a_longer_one_is_not(clock: FakeClock) -> None:
    """The watchdog is starved by an iteration that hangs."""
    seen = []

    def tick() -> float:
        for _ in range(3):
            seen.append(loop.makes_progress())
            clock.advance(12.5)
        return 0.0

    loop = runner(tick, clock)
    loop.step()
    assert seen == [True, True, False]


def test_a_pause_is_progress_until_it_is_overdue(clock: FakeClock) -> None:
    """A long pause is legitimate; not coming back from it is not."""
    loop = runner(Script(60.0), clock)
    loop.step()
    clock.advance(60.0 + OVERDUE_S - 0.1)
    assert loop.makes_progress()
    clock.advance(0.2)
    assert not loop.makes_progress()


def test_an_iteration_that_gets_on_is_not_hung(clock: FakeClock) -> None:
    """It may take as long as its work does, piece by piece; a piece that takes too long is a hang all the same."""
    seen = []

    def tick() -> float:
        for piece_s in (20.0, 20.0, 20.0, 26.0):
            clock.advance(piece_s)
            seen.append(loop.makes_progress())
            progress()
        return 1.0

    loop = runner(tick, clock)
    loop.step()
    assert seen == [True, True, True, False]
    progress()
    assert loop.makes_progress(), "what is said after an iteration counts for none"


def test_waiting_for_redis_is_progress(clock: FakeClock) -> None:
    """An outage of Redis does not make systemd restart what waits for it."""
    loop = runner(Script(RedisConnectionError("refused")), clock)
    for _ in range(100):
        pause_s = loop.step()
        assert loop.makes_progress()
        clock.advance(pause_s)
        assert loop.makes_progress()


def test_a_loop_that_only_meets_a_bug_makes_no_progress(clock: FakeClock) -> None:
    """It ticks and gets nowhere: after the time of a hung iteration it counts as hung, until it succeeds once."""
    loop = runner(Script(*[KeyError("symbol")] * 9, 60.0), clock)
    seen = []
    for _ in range(9):
        loop.step()
        seen.append(loop.makes_progress())
        clock.advance(3.0)
    assert seen == [True] * 9
    assert not loop.makes_progress()
    loop.step()
    assert loop.makes_progress()


def test_what_redis_refuses_is_no_reason_to_start_again(clock: FakeClock) -> None:
    """A missing right or a full memory is the same for a new process: the old one stays, and says what it is."""
    loop = runner(Script(ResponseError("OOM command not allowed")), clock)
    for _ in range(100):
        clock.advance(loop.step())
        assert loop.makes_progress()


def test_a_wake_up_ends_the_pause(stop: threading.Event) -> None:
    """An event is served at once, not when the pause is over."""
    tick = Script(3600.0)
    loop = runner(tick, FakeClock(), stop)
    loop.start()
    wait_until(lambda: tick.calls == 1)
    loop.loop.wake.set()
    assert wait_until(lambda: tick.calls == 2)


def test_a_wake_up_during_the_iteration_is_not_lost(stop: threading.Event) -> None:
    """What arrives while the tick runs starts the next one at once."""
    calls = []

    def tick() -> float:
        calls.append(1)
        if len(calls) == 1:
            loop.loop.wake.set()
        return 3600.0

    loop = runner(tick, FakeClock(), stop)
    loop.start()
    assert wait_until(lambda: len(calls) == 2)


def test_wake_ups_do_not_cut_a_pause_short_while_it_fails(stop: threading.Event) -> None:
    """A busy stream must not hammer a Redis that is away."""
    tick = Script(RedisConnectionError("refused"))
    loop = runner(tick, FakeClock(), stop)
    loop.start()
    wait_until(lambda: tick.calls == 4)  # the pause is now over a second long
    loop.loop.wake.set()
    stop.wait(0.2)
    assert tick.calls == 4


@pytest.mark.parametrize("outcome", [3600.0, RedisConnectionError("refused")], ids=["pausing", "failing"])
def test_a_stop_ends_the_thread_from_any_pause(outcome: float | Exception) -> None:
    """A stop is a stop and a wake-up, and the thread ends."""
    tick = Script(outcome)
    stop = threading.Event()
    loop = runner(tick, FakeClock(), stop)
    loop.start()
    wait_until(lambda: tick.calls >= 1)
    stop.set()
    loop.loop.wake.set()
    loop.thread.join(20)
    assert not loop.thread.is_alive()
    assert loop.done.is_set()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_by_itself_is_noticed() -> None:
    """A loop that is gone is not alive, so that the daemon can end instead of going on without it."""

    def tick() -> float:
        raise SystemExit

    loop = runner(tick, FakeClock())
    loop.start()
    loop.thread.join(20)
    assert not loop.is_alive()
