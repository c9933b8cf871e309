"""Three Redis servers with the project's access list, a primary and two replicas, watched by three sentinels."""

import functools
import signal
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from redis import Redis
from redis.exceptions import RedisError

from microservices.runtime import CommonSettings
from microservices.runtime.redis_sentinel import Address
from microservices.runtime.redis_sentinel import Sentinels as Asked
from ops.suite.layout import Layout, Process
from ops.suite.ports import free_ports
from tests.support.access import ADMIN, new_passwords, write_acl
from tests.support.redis_place import REDIS, with_login
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

SERVICE: Final = "quantum"
NODES: Final = 3
QUORUM: Final = 2
DOWN_AFTER_MS: Final = 3_000
"""With one second a busy machine saw the new primary down before it was reached, and failed over once more."""
READY_WITHIN_S: Final = 60.0
SENTINEL = """\
port {port}
bind 127.0.0.1
dir {folder}
logfile {folder}/log
sentinel monitor {service} 127.0.0.1 {primary} {quorum}
sentinel auth-user {service} sentinel
sentinel auth-pass {service} {password}
sentinel down-after-milliseconds {service} {down_after_ms}
sentinel failover-timeout {service} 10000
sentinel parallel-syncs {service} 1
"""


class Sentinels:
    """Start them, kill the primary, cut replication; the `RedisPlace` of a suite.

    Args:
        folder: for lists, configurations and logs.
    """

    def __init__(self, folder: Path) -> None:
        self.passwords = new_passwords()
        self._folder = folder
        acl = write_acl(folder / "users.acl", self.passwords)
        ports = free_ports(2 * NODES)
        self.nodes = {port: self._node(port, ports[0], acl) for port in ports[:NODES]}
        self.sentinels = [("127.0.0.1", port) for port in ports[NODES:]]
        self._replicas = NODES - 1
        self._watching: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        try:
            for node in self.nodes.values():
                node.start()
            first = next(iter(self.nodes))
            for _, port in self.sentinels:
                self._watch(port, first)
            for address in self.sentinels:
                knows_all = functools.partial(self._knows_all, address)
                wait_until(knows_all, READY_WITHIN_S, what="a sentinel to know all others", every_s=0.1)
            wait_until(self.is_replicated, READY_WITHIN_S, what="both replicas to follow", every_s=0.1)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self._end()

    # As a suite's Redis

    def place(self, layout: Layout) -> Self:
        """Give itself, whatever the layout."""
        return self

    def processes(self, usual: Iterable[Process]) -> list[Process]:
        """Give each service its way by the sentinels; Redis is here already."""
        return [with_login(each, self._login) for each in usual if each.name != REDIS]

    def settings(self, user: str) -> CommonSettings:
        """Log in at the primary as this user."""
        return CommonSettings(redis_url=self.url(user))

    def url(self, user: str) -> str:
        """Write the way to the primary as an operator sets it."""
        addresses = ",".join(f"{host}:{port}" for host, port in self.sentinels)
        return f"redis+sentinel://{user}:{self.passwords[user]}@{addresses}/{SERVICE}/0"

    def _login(self, user: str) -> dict[str, str]:
        return {"REDIS_URL": self.url(user)}

    # What tests do to them

    def primary(self) -> Address:
        """Say where the sentinels see the primary."""
        return Asked(self.sentinels, SERVICE).primary()

    @contextmanager
    def misled(self, port: int) -> Iterator[CommonSettings]:
        """Have a sentinel that takes this server for the primary; give the settings of a client that believes it."""
        (mistaken,) = free_ports(1)
        watching = len(self._watching)
        self._watch(mistaken, port, SERVICE + "-misled")
        address = [("127.0.0.1", mistaken)]
        try:
            wait_until(lambda: _is_asked(address, SERVICE + "-misled"), READY_WITHIN_S, what="the sentinel to answer")
            url = f"redis+sentinel://reader:{self.passwords['reader']}@127.0.0.1:{mistaken}/{SERVICE}-misled/0"
            yield CommonSettings(redis_url=url)
        finally:
            ended = self._watching.pop(watching)
            ended.kill()
            ended.wait()

    def is_replicated(self) -> bool:
        """Whether all replicas that are left have all that was written before this moment."""
        with self.nodes[self.primary()[1]].client() as client:
            return int(client.wait(self._replicas, 1_000)) == self._replicas

    def cut_replication(self) -> None:
        """Let the primary go on alone: what is written from now on is nowhere else."""
        with self.nodes[self.primary()[1]].client() as client:
            client.acl_setuser("replica", enabled=False)
            command: Any = client.execute_command
            assert command("CLIENT", "KILL", "TYPE", "replica") == self._replicas

    def kill_primary(self) -> Address:
        """Kill it; say where it was."""
        was = self.primary()
        self.nodes[was[1]].stop(signal.SIGKILL)
        self._replicas -= 1
        return was

    def has_failed_over(self, was: Address) -> bool:
        """Whether another server is the primary now, in the sentinels' eyes and in its own."""
        now = self.primary()
        if now == was:
            return False
        try:
            with self.nodes[now[1]].client() as client:
                role: Any = client.role()
        except RedisError:
            return False
        return bool(role[0] == b"master")

    def _node(self, port: int, primary: int, acl: Path) -> RedisServer:
        login = ["--masteruser", "replica", "--masterauth", self.passwords["replica"]]
        follows = ["--replicaof", "127.0.0.1", str(primary)] if port != primary else []
        options = ["--aclfile", str(acl), *login, "--repl-diskless-sync-delay", "0", *follows]
        return RedisServer(appendonly=True, port=port, options=options, login=(ADMIN, self.passwords[ADMIN]))

    def _watch(self, port: int, primary: int, service: str = SERVICE) -> None:
        folder = self._folder / f"sentinel-{port}"
        folder.mkdir()
        configuration = folder / "sentinel.conf"
        configuration.write_text(
            SENTINEL.format(
                port=port, folder=folder, service=service, primary=primary, quorum=QUORUM,
                password=self.passwords["sentinel"], down_after_ms=DOWN_AFTER_MS,
            )
        )  # fmt: skip
        self._watching.append(subprocess.Popen(["redis-server", str(configuration), "--sentinel"]))

    def _knows_all(self, address: Address) -> bool:
        try:
            with Redis(host=address[0], port=address[1], protocol=2) as sentinel:
                known: Any = sentinel.execute_command("SENTINEL", "master", SERVICE)
        except RedisError:
            return False
        said = dict(zip(known[::2], known[1::2], strict=True)) if isinstance(known, list) else known
        return (said[b"num-slaves"], said[b"num-other-sentinels"], said[b"flags"]) == (b"2", b"2", b"master")

    def _end(self) -> None:
        for watching in self._watching:
            watching.kill()
            watching.wait()
        for node in self.nodes.values():
            node.__exit__()


def _is_asked(sentinels: Sequence[Address], service: str) -> bool:
    try:
        return bool(Asked(sentinels, service).primary())
    except RedisError:
        return False
