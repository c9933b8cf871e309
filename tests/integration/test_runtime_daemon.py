"""A tiny service as its own process: its start, its outages, its end, and what systemd and the operator hear."""

import re
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from tests.support.daemon import Daemon
from tests.support.metrics import scraped
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.systemd_socket import SystemdSocket
from tests.support.tiny_service import COUNTER, LEASE, STREAM
from tests.support.waiting import wait_until

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[(\w+)\] (.*)")
ENDED_WITHIN_S = 8.0
"""Two are wanted, and systemd kills after five; a machine that is slower and busy is given its time."""


class TinyDaemon(Daemon):
    """The tiny service as a process."""

    def __init__(self, *arguments: str, environment: dict[str, str]) -> None:
        super().__init__("runtime", environment=environment)
        self._command = [sys.executable, "-m", "tests.support.tiny_service", *arguments]

    def lines(self) -> list[tuple[str, str]]:
        """Give level and message of every line so far; every line must be one of the format."""
        return [(found[1], found[2]) for line in self.log().splitlines() if (found := LINE.fullmatch(line))]

    def has_logged(self, text: str) -> bool:
        return text in self.log()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[SystemdSocket]:
    with SystemdSocket(tmp_path) as end:
        yield end


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server that the test may kill."""
    with RedisServer(appendonly=True) as server:
        yield server


def environment(port: int, systemd: SystemdSocket | None = None, **more: str) -> dict[str, str]:
    notify = {} if systemd is None else {"NOTIFY_SOCKET": systemd.path, "WATCHDOG_USEC": "2000000"}
    return {"REDIS_PORT": str(port)} | notify | more


def count(redis: Redis) -> int:
    value = redis.get(COUNTER)
    return int(value) if isinstance(value, bytes) else 0


def wait_for_group(redis: Redis) -> None:
    wait_until(lambda: redis.exists(STREAM), 30, what="the group")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_the_middle_of_a_block(
    redis_server: RedisServer, redis_client: Redis, systemd: SystemdSocket, how: signal.Signals
) -> None:
    """Whatever it waits for, it ends with 0 in time, and systemd hears the beginning and the end."""
    with TinyDaemon(environment=environment(redis_server.port, systemd)) as daemon:
        wait_for_group(redis_client)
        code, took_s = daemon.end(how)
        assert (code, took_s < ENDED_WITHIN_S) == (0, True), daemon.log()
        assert daemon.lines()[0][1].startswith("quantum-tiny ")
        assert daemon.lines()[-1] == ("INFO", "quantum-tiny stopped")
        assert all(LINE.fullmatch(line) for line in daemon.log().splitlines())
    assert systemd.messages()[0] == "READY=1"
    assert systemd.messages()[-1] == "STOPPING=1"
    assert systemd.heartbeats() >= 1


def test_an_outage_of_redis_is_waited_for(own_server: RedisServer, systemd: SystemdSocket) -> None:
    """Redis is killed and comes back: nothing restarts, nothing is lost, two lines are logged."""
    with own_server.client() as redis, TinyDaemon(environment=environment(own_server.port, systemd)) as daemon:
        redis.xadd(STREAM, {"n": "1"})
        wait_until(lambda: count(redis) == 1, 10)
        wait_until(lambda: systemd.status() == "1 counted", 20)
        own_server.stop(signal.SIGKILL)
        wanted = rf"waiting for Redis 127\.0\.0\.1:{own_server.port}, [1-9]\d* s"
        wait_until(lambda: re.fullmatch(wanted, systemd.status()), 30)
        fed = systemd.heartbeats()
        wait_until(lambda: systemd.heartbeats() > fed + 1, 20, what="the watchdog to be fed during the outage")
        own_server.start()
        redis.xadd(STREAM, {"n": "2"})
        wait_until(lambda: count(redis) == 2, 10)
        wait_until(lambda: systemd.status() == "2 counted", 20)
        assert daemon.is_running
        wait_until(lambda: daemon.has_logged("going on after"), 20)
        levels = [level for level, message in daemon.lines() if message.startswith("read: ")]
        assert levels == ["WARNING", "INFO"]
        assert not daemon.has_logged("Traceback")
        assert daemon.end()[0] == 0


def test_it_starts_without_redis(systemd: SystemdSocket, own_server: RedisServer) -> None:
    """Ready at once, waiting in its status, and at work as soon as Redis is there."""
    own_server.stop()
    with TinyDaemon(environment=environment(own_server.port, systemd)) as daemon:
        wait_until(lambda: "READY=1" in systemd.messages(), 20)
        wanted = f"waiting for Redis 127.0.0.1:{own_server.port}, "
        wait_until(lambda: systemd.status().startswith(wanted), 20)
        own_server.start()
        with own_server.client() as redis:
            redis.xadd(STREAM, {"n": "1"})
            wait_until(lambda: count(redis) == 1, 10)
        wait_until(lambda: systemd.status() == "1 counted", 20)
        assert daemon.end()[0] == 0


def test_a_server_that_does_not_answer_cannot_hold_up_the_end(own_server: RedisServer) -> None:
    """Redis is frozen in the middle of a read: the process still leaves in time, with 0."""
    with own_server.client() as redis, TinyDaemon(environment=environment(own_server.port)) as daemon:
        wait_for_group(redis)
        own_server.pause()
        try:
            code, took_s = daemon.end()
        finally:
            own_server.resume()
        assert (code, took_s < ENDED_WITHIN_S) == (0, True), daemon.log()
        assert daemon.has_logged("[WARNING] Leaving while read still waits in a call")


@pytest.mark.parametrize("behaviour", ["hangs", "hangs_at_close", "leaves_a_pool"])
def test_a_hung_thread_cannot_hold_up_the_end(redis_server: RedisServer, redis_client: Redis, behaviour: str) -> None:
    """Neither a loop, nor the closing, nor a thread pool that the service left behind."""
    variables = environment(redis_server.port, TINY_BEHAVIOUR=behaviour, TINY_BLOCK_MS="100")
    with TinyDaemon(environment=variables) as daemon:
        wait_for_group(redis_client)
        code, took_s = daemon.end()
        assert (code, took_s < ENDED_WITHIN_S) == (0, True), daemon.log()


def test_a_closing_that_fails_is_said(redis_server: RedisServer, redis_client: Redis) -> None:
    """A bug in the last words is an error in the log, not a lost one."""
    variables = environment(redis_server.port, TINY_BEHAVIOUR="fails_at_close", TINY_BLOCK_MS="100")
    with TinyDaemon(environment=variables) as daemon:
        wait_for_group(redis_client)
        assert daemon.end()[0] == 0
        assert ("ERROR", "close: ValueError: nothing to close; leaving all the same") in daemon.lines()


def test_a_hung_loop_starves_the_watchdog(
    redis_server: RedisServer, redis_client: Redis, systemd: SystemdSocket
) -> None:
    """The other loop goes on, and the watchdog is starved all the same, with a line that names the hung one."""
    variables = environment(
        redis_server.port, systemd, TINY_BEHAVIOUR="hangs", TINY_MAX_TICK_S="2.5", TINY_BLOCK_MS="100"
    )
    with TinyDaemon(environment=variables) as daemon:
        wait_until(lambda: daemon.has_logged("[ERROR] No progress in misbehave"), 30)
        fed = systemd.heartbeats()
        assert fed >= 2
        redis_client.xadd(STREAM, {"n": "1"})
        wait_until(lambda: count(redis_client) == 1, 10)
        wait_until(lambda: systemd.status() == "1 counted", 20)
        assert systemd.heartbeats() == fed
        wait_until(lambda: "WATCHDOG=trigger" in systemd.messages(), 20, what="systemd to be told")
        assert systemd.messages().count("WATCHDOG=trigger") == 1
        assert daemon.log().count("No progress") == 1


def test_a_bug_in_one_loop_leaves_the_others_at_work(
    redis_server: RedisServer, redis_client: Redis, systemd: SystemdSocket
) -> None:
    """It is logged with its traceback, once, stands in the status, and the daemon goes on."""
    variables = environment(redis_server.port, systemd, TINY_BEHAVIOUR="has_a_bug")
    with TinyDaemon(environment=variables) as daemon:
        redis_client.xadd(STREAM, {"n": "1"})
        wait_until(lambda: count(redis_client) == 1, 30)
        wanted = r"misbehave: KeyError: 'symbol', \d+ s; 1 counted"
        wait_until(lambda: re.fullmatch(wanted, systemd.status()), 30)
        assert daemon.log().count("Traceback") == 1
        assert daemon.log().count("[ERROR] misbehave: KeyError: 'symbol'; trying again") == 1
        assert daemon.end()[0] == 0


@pytest.mark.parametrize(
    ("behaviour", "code", "line"),
    [
        ("refuses", 1, "the account is another one"),
        ("refuses_later", 1, "the account has changed"),
        ("dies", 1, "the thread of misbehave ended by itself"),
        ("wrong_setting", 78, "TINY_KEY='***': allowed is another key"),
    ],
)
def test_what_cannot_go_on_ends_with_one_line(
    redis_server: RedisServer, redis_client: Redis, behaviour: str, code: int, line: str
) -> None:
    """A refusal ends the process, before the loops or later, and its line is the only error."""
    variables = environment(redis_server.port, TINY_BEHAVIOUR=behaviour, TINY_BLOCK_MS="100")
    with TinyDaemon(environment=variables) as daemon:
        assert daemon.wait(40) == code
        assert [message for level, message in daemon.lines() if level != "INFO"] == [line]
        assert not daemon.has_logged("Traceback")
    assert redis_client.ping()


def test_a_wrong_password_is_an_error_that_says_so(own_server: RedisServer, systemd: SystemdSocket) -> None:
    """It is no outage: somebody must act, and when he does the daemon goes on."""
    with own_server.client() as redis:
        redis.config_set("requirepass", "right")
        variables = environment(own_server.port, systemd, REDIS_PASSWORD="wrong")
        with TinyDaemon(environment=variables) as daemon:
            wait_until(lambda: systemd.status().startswith("prepare: AuthenticationError"), 30)
            (line,) = [message for level, message in daemon.lines() if level == "ERROR"]
            assert line.startswith("prepare: AuthenticationError: ")
            assert "wrong" not in daemon.log().replace("wrong number", "").replace("WRONGPASS", "")
            redis.config_set("requirepass", "wrong")
            wait_until(lambda: systemd.status() == "0 counted", 15)
            assert daemon.end()[0] == 0


def test_a_second_instance_waits_for_the_lease_and_says_whose(
    redis_server: RedisServer, redis_client: Redis, systemd: SystemdSocket, tmp_path: Path
) -> None:
    """Another host's lease is waited for; when it is given up, the second one starts."""
    redis_client.set(LEASE, "other:1")
    variables = environment(redis_server.port, systemd, STATE_DIRECTORY=str(tmp_path / "state"))
    with TinyDaemon(environment=variables) as daemon:
        wait_until(lambda: systemd.status().startswith(f"waiting for lease {LEASE} held by other:1, "), 30)
        redis_client.delete(LEASE)
        wait_until(lambda: systemd.status() == "0 counted", 15)
        once = TinyDaemon("--once", environment=variables).run()
        assert once.returncode == 1
        assert "another process holds" in once.stderr
        assert daemon.end()[0] == 0
    assert redis_client.get(LEASE) is None


def test_metrics_are_shown_on_loopback_only(redis_server: RedisServer, redis_client: Redis) -> None:
    """The build and the loops can be scraped on 127.0.0.1, and the port is said in the log."""
    port = free_port()
    variables = environment(redis_server.port, TINY_METRICS_PORT=str(port), TINY_BEHAVIOUR="has_a_bug")
    with TinyDaemon(environment=variables) as daemon:
        wait_for_group(redis_client)
        wait_until(lambda: daemon.has_logged("KeyError"), 20)
        assert daemon.has_logged(f"[INFO] Metrics server started on port {port}\n")
        wait_until(lambda: 'error="KeyError"' in scraped(port), 20, what="the error to be counted")
        text = scraped(port)
        assert re.search(r'quantum_build_info\{commit="\w+",service="quantum-tiny",version="[^"]+"\} 1\.0', text)
        assert re.search(r'quantum_loop_errors_total\{error="KeyError",loop="misbehave"\} [1-9]', text)
        assert 'quantum_loop_failing{loop="read"} 0.0' in text
        assert "_created" not in text
        listening = Path(f"/proc/{daemon.pid}/net/tcp").read_text()
        assert f"0100007F:{port:04X}" in listening
        assert f"00000000:{port:04X}" not in listening
        assert daemon.end()[0] == 0


def test_a_taken_metrics_port_is_a_warning(redis_server: RedisServer, redis_client: Redis) -> None:
    """Trading goes on without metrics; the log says so in one line."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with TinyDaemon(environment=environment(redis_server.port, TINY_METRICS_PORT=str(port))) as daemon:
            redis_client.xadd(STREAM, {"n": "1"})
            wait_until(lambda: count(redis_client) == 1, 30)
            warnings = [message for level, message in daemon.lines() if level == "WARNING"]
            assert warnings == [
                f"Metrics port {port} is not to be had (Address already in use): going on without metrics"
            ]
            assert daemon.end()[0] == 0
