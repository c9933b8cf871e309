"""The scripts' way to Redis: one redis-cli for all questions, and no answer is ever taken for that of another."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from redis import Redis

from ops.lib.redis_cli import CannotTell, Fault, RedisCli
from tests.support.redis_server import RedisServer


@pytest.fixture
def cli(redis_server: RedisServer, redis_client: Redis) -> Iterator[RedisCli]:
    """A way to an empty Redis."""
    with RedisCli(["redis-cli", "-p", str(redis_server.port)]) as made:
        yield made


def saying(script: str, timeout_s: float = 30) -> RedisCli:
    """Make a redis-cli of the test's own, which reads lines on standard input."""
    return RedisCli([sys.executable, "-c", f"import sys, time\n{script}"], timeout_s)


def test_all_questions_go_to_one(cli: RedisCli) -> None:
    """To start one for each would cost more than the answers: the connection stays the same."""
    [first] = cli.ask(("CLIENT", "ID"))
    assert isinstance(first, int)
    assert [cli.ask(("CLIENT", "ID")) for _ in range(3)] == [[first]] * 3
    assert cli.ask() == []


def test_outside_of_a_block_each_round_has_a_connection_of_its_own(redis_server: RedisServer) -> None:
    """Who pauses between rounds, as a deployment does, meets no connection that was closed meanwhile."""
    cli = RedisCli(["redis-cli", "-p", str(redis_server.port)])
    [first], [second] = cli.ask(("CLIENT", "ID")), cli.ask(("CLIENT", "ID"))
    assert first != second


@pytest.mark.parametrize("word", [b"", b"\\x00", bytes(range(256)), '"; FLUSHALL "', -5])
def test_a_word_is_only_itself(cli: RedisCli, word: bytes | str | int) -> None:
    """Empty, every byte there is, what a shell or redis-cli would read otherwise: it arrives as it stands."""
    assert cli.ask(("ECHO", word)) == [word if isinstance(word, bytes) else str(word).encode()]


def test_more_is_asked_and_answered_than_a_pipe_holds(cli: RedisCli) -> None:
    """Neither side waits for the other for ever, and each answer stands in its question's place."""
    words = [f"{number:04}" * 250 for number in range(1_000)]
    for _ in range(2):
        assert cli.ask(*(("ECHO", word) for word in words)) == [word.encode() for word in words]


def test_a_connection_that_was_closed_costs_one_question(cli: RedisCli, redis_client: Redis) -> None:
    """Nobody knows what became of the question, so that it is not asked again; the next one has a new connection."""
    cli.ask(("SET", "key", "1"))
    redis_client.client_kill_filter(skipme=True, _type="normal")
    with pytest.raises(CannotTell, match="Server closed the connection"):
        cli.ask(("INCR", "key"))
    assert cli.ask(("GET", "key")) == [b"1"]


def test_without_redis_it_cannot_tell_until_there_is_one(redis_server: RedisServer, redis_client: Redis) -> None:
    """What one question failed by does not reach the next."""
    with RedisServer() as other, RedisCli(["redis-cli", "-p", str(other.port)]) as cli:
        assert cli.ask(("ECHO", "a")) == [b"a"]
        other.stop()
        with pytest.raises(CannotTell, match="Redis broke off: "):
            cli.ask(("ECHO", "b"), ("ECHO", "c"))
        other.start()
        assert cli.ask(("ECHO", "d"), ("NO", "SUCH"))[0] == b"d"
        assert isinstance(cli.ask(("NO", "SUCH"))[0], Fault)


@pytest.mark.parametrize("how", ["at once", "later", "cut"])
def test_words_that_nobody_asked_for_are_no_answers(how: str) -> None:
    """A second line, whenever it comes, is never the answer to the next question."""
    second = {
        "at once": "sys.stdout.write('1\\n2\\n'); sys.stdout.flush()",
        "later": "print(1, flush=True); time.sleep(0.2); print(2, flush=True)",
        "cut": "sys.stdout.write('1\\n2'); sys.stdout.flush()",
    }[how]
    with saying(f"for line in sys.stdin: {second}") as cli:
        answers = []
        for _ in range(3):
            try:
                answers += cli.ask(("GET", "x"))
            except CannotTell:
                answers.append(None)
            time.sleep(0.5)
    assert set(answers) <= {1, None}


def test_a_complaint_is_passed_on_and_its_answers_are_kept() -> None:
    """A login that fails is told on standard error, the answers to it on standard output."""
    complaining = "print('AUTH failed: WRONGPASS', file=sys.stderr, flush=True)\nfor line in sys.stdin: "
    with saying(f"{complaining}print('error:\"NOAUTH\"', flush=True)") as cli:
        assert [cli.ask(("PING",), ("PING",)) for _ in range(2)] == [[Fault("NOAUTH")] * 2] * 2
    with saying(f"{complaining}pass") as cli, pytest.raises(CannotTell, match="broke off: AUTH failed: WRONGPASS"):
        cli.ask(("PING",))


@pytest.mark.parametrize("script", ["sys.exit(3)", "sys.stdin.readline(); print('[', end='')", "sys.stdin.close()"])
def test_one_that_ends_cannot_tell(script: str) -> None:
    """Nothing, or half a line, is no answer."""
    with saying(script) as cli, pytest.raises(CannotTell, match="broke off: no answer"):
        cli.ask(*[("PING",)] * 10_000)


def test_silence_ends_in_time() -> None:
    """The question is given up, and whoever did not answer is ended."""
    with saying("time.sleep(600)", 0.2) as cli, pytest.raises(CannotTell, match=re.escape("within 0.2 s")):
        cli.ask(("PING",))


def test_nobody_is_left_behind(redis_server: RedisServer, redis_client: Redis) -> None:
    """In the end its redis-cli is gone, also in the middle of a question that blocks."""
    before = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    address = ["redis-cli", "-p", str(redis_server.port)]
    with RedisCli(address, 0.2) as cli, pytest.raises(CannotTell):
        cli.ask(("BLPOP", "nothing", 0))
    with RedisCli(address) as cli:
        cli.ask(("PING",))
    after = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert after.count(" ".join(address)) <= before.count(" ".join(address))
