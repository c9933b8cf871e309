"""The Redis of a suite in a test: where it is, who starts it, and what each of its clients logs in with."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from microservices.runtime import CommonSettings, Secret
from ops.deploy.catalog import PAPER_EXCHANGE
from ops.suite.layout import Layout, Process
from tests.support.access import new_passwords, write_acl

REDIS = "redis"
AS_STRATEGY = "demo-plans"


def with_login(process: Process, login: Callable[[str], dict[str, str]]) -> Process:
    """Give a process the variables of its user's login; the paper exchange needs no Redis."""
    if process.name == PAPER_EXCHANGE.short:
        return process
    user = "strategy" if process.name == AS_STRATEGY else process.name
    return replace(process, environment={**process.environment, **login(user)})


class RedisPlace(Protocol):
    """How a suite gets its Redis."""

    def processes(self, usual: Iterable[Process]) -> list[Process]:
        """Give the suite's processes with their way to Redis, and Redis itself where the suite starts it."""

    def settings(self, user: str) -> CommonSettings:
        """Give the settings of a client of the test's own, as this user."""


class OwnRedis:
    """The one that `make run` starts: no logins.

    Args:
        layout: the run's.
    """

    def __init__(self, layout: Layout) -> None:
        self._port = layout.redis_port

    def processes(self, usual: Iterable[Process]) -> list[Process]:
        """Give them as they are."""
        return list(usual)

    def settings(self, user: str) -> CommonSettings:
        """Give the same for everybody."""
        return CommonSettings(redis_port=self._port)


class GuardedRedis:
    """One with the project's access list: every service logs in as its own user, with its password in a file.

    Args:
        layout: the run's.
    """

    def __init__(self, layout: Layout) -> None:
        self.passwords = new_passwords()
        self.port = layout.redis_port
        self._folder = layout.scratch
        self._acl = write_acl(layout.scratch / "users.acl", self.passwords)

    def processes(self, usual: Iterable[Process]) -> list[Process]:
        """Give each its login."""
        return [self._server(each) if each.name == REDIS else with_login(each, self._login) for each in usual]

    def settings(self, user: str) -> CommonSettings:
        """Log in as this user."""
        return CommonSettings(redis_port=self.port, redis_username=user, redis_password=Secret(self.passwords[user]))

    def _login(self, user: str) -> dict[str, str]:
        return {"REDIS_USERNAME": user, "REDIS_PASSWORD_FILE": str(self.password_file(user))}

    def password_file(self, user: str) -> Path:
        """Write a user's password as a deploy does."""
        path = self._folder / f"password-{user}"
        path.write_text(self.passwords[user])
        return path

    def _server(self, process: Process) -> Process:
        folder = self._folder / "redis"
        folder.mkdir(exist_ok=True)
        options = {"port": self.port, "bind": "127.0.0.1", "dir": folder, "save": "", "appendonly": "yes",
                   "maxmemory-policy": "noeviction", "aclfile": self._acl}  # fmt: skip
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        return replace(process, command=("redis-server", *words))
