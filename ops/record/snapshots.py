"""Look at metrics and at Redis for an entry: bounded in time and size, and never by a command that could write."""

import os
import re
import shlex
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from ops.lib.redis_cli import Answer, CannotTell, Fault, RedisCli, text
from ops.record.entry import UNAVAILABLE

TIMEOUT_S = 10
BODY_MAX_BYTES = 8_000_000
PART_MAX_LINES = 200
"""Of one command's answer, or of one pattern's samples."""
_READING = """BITCOUNT BITFIELD_RO BITPOS DBSIZE ECHO EXISTS EXPIRETIME GEODIST GEOHASH GEOPOS GEOSEARCH GET GETBIT
GETRANGE HEXISTS HGET HGETALL HKEYS HLEN HMGET HRANDFIELD HSCAN HSTRLEN HVALS INFO LASTSAVE LCS LINDEX LLEN LPOS
LRANGE MGET PEXPIRETIME PING PTTL RANDOMKEY ROLE SCAN SCARD SDIFF SINTER SINTERCARD SISMEMBER SMEMBERS SMISMEMBER
SORT_RO SRANDMEMBER SSCAN STRLEN SUNION TIME TTL TYPE XLEN XPENDING XRANGE XREVRANGE ZCARD ZCOUNT ZDIFF ZINTER
ZINTERCARD ZLEXCOUNT ZMSCORE ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANK ZREVRANGE ZREVRANGEBYLEX
ZREVRANGEBYSCORE ZREVRANK ZSCAN ZSCORE ZUNION"""
READING = frozenset(_READING.split())
"""Commands that only read and answer at once; KEYS, which stops the server for all, is not among them."""
READING_OF = {
    "XINFO": {"CONSUMERS", "GROUPS", "STREAM"},
    "OBJECT": {"ENCODING", "FREQ", "IDLETIME", "REFCOUNT"},
    "MEMORY": {"STATS", "USAGE"},
    "LATENCY": {"HISTORY", "LATEST"},
    "SLOWLOG": {"LEN"},
}
_COMMON_SH = Path(__file__).resolve().parents[1] / "lib" / "common.sh"
# common.sh finds Redis for every script; what it found comes back word by word, the password first.
_FIND_REDIS = 'source "$1"; connect_redis; printf "%s\\0" "${REDISCLI_AUTH:-}" "${REDIS_CLI[@]}"'


def refused_command(line: str) -> str:
    """Say why a Redis command is not run; empty where it is."""
    try:
        words = shlex.split(line)
    except ValueError as fault:
        return f"--redis_cmds {line!a}: {str(fault).lower()}"
    name = words[0].upper() if words else ""
    if name in READING or (name in READING_OF and len(words) > 1 and words[1].upper() in READING_OF[name]):
        return ""
    return f"--redis_cmds {line!a}: only commands that read are run, and {name or 'an empty one'!a} is not one of them"


def redis_snapshot(lines: Sequence[str]) -> str:
    """Run commands one by one and give what Redis answers, each headed by its command."""
    redis = _found_redis()
    return "\n".join(f"# redis-cli {line}\n{_asked(redis, shlex.split(line))}" for line in lines)


def _found_redis() -> RedisCli | str:
    """Find Redis as every script does; a text says why it cannot be."""
    try:
        found = subprocess.run(
            ["bash", "-c", _FIND_REDIS, "ops_ledger_append", str(_COMMON_SH)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return UNAVAILABLE
    if found.returncode != 0:
        why = found.stderr.decode("utf-8", "backslashreplace").strip().partition("\n")[0]
        return f"{UNAVAILABLE} ({why.removeprefix('ops_ledger_append: ') or 'redis-cli cannot be run'})"
    password, *command = (word.decode("utf-8", "surrogateescape") for word in found.stdout.split(b"\0")[:-1])
    if password:
        # In the environment alone, where redis-cli looks for it and where the masking of collected text does, too.
        os.environ["REDISCLI_AUTH"] = password
    return RedisCli(command, TIMEOUT_S)


def _asked(redis: RedisCli | str, words: Sequence[str]) -> str:
    if isinstance(redis, str):
        return redis
    try:
        [answer] = redis.ask([word.encode("utf-8", "surrogateescape") for word in words])
    except CannotTell as fault:
        return f"{UNAVAILABLE} ({fault})"
    return "\n".join(_first(_shown(answer))) or "(empty)"


def _first(lines: list[str]) -> list[str]:
    left_out = len(lines) - PART_MAX_LINES
    return lines if left_out <= 0 else [*lines[:PART_MAX_LINES], f"… {left_out} lines more"]


def _shown(answer: Answer) -> list[str]:
    if isinstance(answer, list):
        return [line for each in answer for line in _shown(each)]
    if isinstance(answer, Fault):
        return [f"(error) {answer.text}"]
    return ["(nil)"] if answer is None else [text(answer)]


def metrics_snapshot(urls: Sequence[str], patterns: Sequence[re.Pattern[str]]) -> str:
    """Fetch metrics and give the samples that match, headed by URL and pattern; without patterns all of them."""
    parts: list[str] = []
    for url in urls:
        fetched = _samples(url)
        for pattern in patterns or [re.compile("")]:
            head = f"# {url} | grep '{pattern.pattern}'" if pattern.pattern else f"# {url}"
            matching = [line for line in fetched if pattern.search(line)] if isinstance(fetched, list) else [fetched]
            parts += [head, *(_first(matching) or ["(no line matches)"])]
    return "\n".join(parts)


def _samples(url: str) -> list[str] | str:
    from http.client import HTTPException
    from urllib.request import ProxyHandler, Request, build_opener

    # No proxy: what is asked about stands on this machine or beside it.
    opener = build_opener(ProxyHandler({}))
    deadline_s = time.monotonic() + TIMEOUT_S
    body = b""
    try:
        with opener.open(Request(url), timeout=TIMEOUT_S) as response:  # noqa: S310 - refused_url has looked at it
            while chunk := response.read1(65536):
                body += chunk
                if time.monotonic() > deadline_s or len(body) > BODY_MAX_BYTES:
                    return f"{UNAVAILABLE} (more than {BODY_MAX_BYTES} bytes or {TIMEOUT_S} s)"
    except (OSError, HTTPException, ValueError) as fault:
        return f"{UNAVAILABLE} ({getattr(fault, 'reason', fault)})"
    lines = body.decode("utf-8", "backslashreplace").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def refused_url(url: str) -> str:
    """Say why an address is not fetched; empty where it is."""
    return "" if re.match("https?://", url) else f"--metrics_urls {url!a}: allowed is http:// or https://"
