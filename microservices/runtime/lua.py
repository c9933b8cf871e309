"""Lua scripts that are shipped as files beside the code that runs them."""

import hashlib
from collections.abc import Sequence
from importlib import resources
from typing import Any, Protocol, Self

from redis.exceptions import NoScriptError

Argument = str | bytes | int


class Commands(Protocol):
    """What a script needs of a client."""

    def execute_command(self, *args: object) -> object:
        """Send one command."""


class LuaScript:
    """One script: called by its digest, sent whole only where the server does not know it.

    Args:
        source: the script's text.
        name: its file's name, for messages.
    """

    def __init__(self, source: str, name: str) -> None:
        self.source = source
        self.name = name
        self.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    @classmethod
    def load(cls, package: str, name: str, *, behind: str = "") -> Self:
        """Read a script from the files of a package, as `LuaScript.load(__package__, "commit.lua")`.

        Args:
            package: whose files.
            name: the script's file.
            behind: another file, put in front of it: functions that several scripts share.

        Raises:
            FileNotFoundError: the package has no file of that name.
        """
        files = [resources.files(package).joinpath(file) for file in (behind, name) if file]
        return cls("".join(file.read_text(encoding="utf-8") for file in files), name)

    def __call__(self, redis: Commands, keys: Sequence[str | bytes] = (), args: Sequence[Argument] = ()) -> Any:  # noqa: ANN401 (an answer is whatever the script gives)
        """Run it and return its raw answer.

        It is sent a second time, as text, only where the server answered that it does not know the digest, and so
        certainly has not run it. A lost reply is the caller's: nothing is repeated.
        """
        try:
            return redis.execute_command("EVALSHA", self.sha, len(keys), *keys, *args)
        except NoScriptError:
            return redis.execute_command("EVAL", self.source, len(keys), *keys, *args)

    def upload(self, redis: Commands) -> None:
        """Make the server know the script, for callers that name it by its digest themselves."""
        redis.execute_command("SCRIPT LOAD", self.source)
