"""Scripts on a real Redis: called by digest, sent as text only where the server does not know them."""

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError

from microservices.runtime import LuaScript

ADD = LuaScript("return redis.call('INCRBY', KEYS[1], ARGV[1])", "add.lua")


class Recording:
    """A client that notes the commands it is asked to send, and may lose a reply."""

    def __init__(self, redis: Redis, *, loses_reply: bool = False) -> None:
        self._redis = redis
        self._loses_reply = loses_reply
        self.sent: list[object] = []

    def execute_command(self, *args: object) -> object:
        self.sent.append(args[0])
        answer: object = self._redis.execute_command(*args)  # type: ignore[no-untyped-call]
        if self._loses_reply:
            raise RedisConnectionError("reply lost")
        return answer


def test_an_unknown_script_is_sent_once_as_text(redis_client: Redis) -> None:
    """After a restart of the server the first call brings the script along, later ones only name it."""
    redis_client.script_flush()
    recording = Recording(redis_client)
    assert ADD(recording, ["n"], [5]) == 5
    assert ADD(recording, ["n"], [2]) == 7
    assert recording.sent == ["EVALSHA", "EVAL", "EVALSHA"]


def test_a_lost_reply_is_never_made_good_by_sending_again(redis_client: Redis) -> None:
    """Only the caller knows what a second call would do."""
    ADD.upload(redis_client)
    recording = Recording(redis_client, loses_reply=True)
    with pytest.raises(RedisConnectionError):
        ADD(recording, ["n"], [1])
    assert recording.sent == ["EVALSHA"]
    assert redis_client.get("n") == b"1"


def test_an_error_of_the_script_is_raised_as_it_is(redis_client: Redis) -> None:
    """It did run: nothing is sent again."""
    redis_client.set("n", "text")
    recording = Recording(redis_client)
    ADD.upload(redis_client)
    with pytest.raises(ResponseError, match="not an integer"):
        ADD(recording, ["n"], [1])
    assert recording.sent == ["EVALSHA"]


def test_an_uploaded_script_is_known_by_its_digest(redis_client: Redis) -> None:
    """Whoever sends many calls at once names it without its text."""
    redis_client.script_flush()
    with pytest.raises(NoScriptError):
        redis_client.evalsha(ADD.sha, 1, "n", "1")
    ADD.upload(redis_client)
    assert redis_client.evalsha(ADD.sha, 1, "n", "1") == 1


def test_a_script_is_read_from_its_package() -> None:
    """Scripts are files beside the code, also once installed."""
    script = LuaScript.load("microservices.runtime", "lease_renew.lua")
    assert script.name == "lease_renew.lua"
    assert "KEYS[1]" in script.source
    with pytest.raises(FileNotFoundError):
        LuaScript.load("microservices.runtime", "no_such.lua")


def test_a_script_may_stand_behind_functions_that_others_use_too() -> None:
    """Two scripts cannot disagree on what they share; together they have one digest."""
    alone, behind = (
        LuaScript.load("microservices.runtime", "lease_renew.lua", behind=file) for file in ("", "lease_release.lua")
    )
    before = LuaScript.load("microservices.runtime", "lease_release.lua")
    assert (behind.source, behind.name) == (before.source + alone.source, alone.name)
    assert behind.sha != alone.sha
