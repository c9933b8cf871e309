"""Redis's access list: who may read and write which keys, from the contracts' own key names.

What is named here once becomes `deployment/redis/users.acl.template`. A deploy puts a hashed password in the place of
each `{password:NAME}`; as it stands Redis refuses the file, so that it cannot be used by mistake.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from microservices.contracts import (
    account,
    candles,
    claim,
    control,
    decision,
    market_state,
    permit,
    plan,
    position,
    result,
    universe,
)
from microservices.contracts.decision import Window
from microservices.contracts.permit import Gate

ANY: Final = "*"
ALL_KEYS: Final = "quantum:*"
CONNECTION: Final = ("ping", "select", "client|setname", "role", "info", "time", "scan", "multi", "exec", "discard")
"""Every service's, on no key: the handshake, the version and the run's id, transactions, the names of keys."""
READING: Final = (
    "exists", "type", "get", "mget", "hget", "hmget", "hgetall", "hlen", "hkeys", "hvals", "zrange", "zrangebyscore",
    "zcard", "zcount",
    "xrange", "xrevrange", "xread", "xpending", "xinfo|stream", "xinfo|groups",
)  # fmt: skip
SHELL: Final = (
    "-@all", "+@read", "-@dangerous", "+ping", "+select", "+client|setname", "+role", "+info", "+time", "+multi",
    "+exec", "+discard", "+command", "+acl|whoami", "+client|list", "+slowlog|get", "+eval_ro",
)  # fmt: skip
"""A person's, who reads: all of Redis's own reading commands but those that hold it up, such as KEYS, and what the
runbooks ask of Redis itself; and scripts that only read, which are judged command by command."""


class Access(Enum):
    """What a selector lets its commands do to its keys."""

    READ = "%R~"
    WRITE = "%W~"
    BOTH = "~"


@dataclass(frozen=True)
class Grant:
    """Commands on keys; they become one selector, so that no command reaches another grant's keys."""

    commands: tuple[str, ...]
    keys: tuple[str, ...]
    access: Access = Access.WRITE

    def rules(self) -> str:
        """Write it as a selector."""
        return f"({_rules(self.commands)} {_patterns(self.access, self.keys)})"


@dataclass(frozen=True)
class User:
    """One login.

    Args:
        name: what it logs in as; a service's is its unit's without `quantum-`.
        reads: the keys it may read.
        grants: what it may do besides.
        root: rules that belong to no selector: a service's commands on no key by default.
        is_enabled: whether anybody may log in as it.
        runs_scripts: whether it may run scripts; what these call is checked command by command all the same.
    """

    name: str
    reads: tuple[str, ...] = ()
    grants: tuple[Grant, ...] = ()
    root: tuple[str, ...] = ("-@all", *(f"+{command}" for command in CONNECTION))
    is_enabled: bool = True
    runs_scripts: bool = False

    def line(self) -> str:
        """Write it as a line of Redis's ACL file."""
        selectors = [Grant(READING, self.reads, Access.READ)] if self.reads and "+@read" not in self.root else []
        selectors += self.grants
        if self.runs_scripts:
            # Redis takes every key that a script names for one that it reads and writes; the rights themselves are
            # judged again for each command that the script calls.
            keys = dict.fromkeys([*self.reads, *(key for grant in self.grants for key in grant.keys)])
            selectors.append(Grant(("eval", "evalsha"), tuple(keys), Access.BOTH))
        login = f"on {{password:{self.name}}}" if self.is_enabled else "off"
        parts = [f"user {self.name} reset {login}", *self.root]
        if self.reads and "+@read" in self.root:
            parts.append(_patterns(Access.READ, self.reads))
        return " ".join([*parts, *(selector.rules() for selector in selectors)])


def _rules(commands: tuple[str, ...]) -> str:
    return " ".join(f"+{command}" for command in commands)


def _patterns(access: Access, keys: tuple[str, ...]) -> str:
    return " ".join(f"{access.value}{key}" for key in keys)


UNIVERSE_STRINGS: Final = (universe.ACTIVE_KEY, universe.LAST_OK_KEY)
UNIVERSE_HASHES: Final = (universe.META_KEY, universe.INSTRUMENTS_KEY)
UNIVERSE: Final = (*UNIVERSE_STRINGS, *UNIVERSE_HASHES)
BACKOFF: Final = Grant(("hset",), (control.BACKOFF_KEY,))
"""Everybody's who talks to the exchange."""
BINDING: Final = Grant(("hsetnx",), (account.KEY,))
"""Of those who may create the binding in paper mode: what stands there already is beyond them."""
PERMITS: Final = permit.key(Gate.GOVERNOR, ANY)
"""Covers the other gates' keys as well, by its shape."""
HOLDS: Final = control.hold_key(ANY)
ADOPTIONS: Final = control.adopt_key(ANY)
WINDOWS: Final = tuple(key for window in Window for key in decision.window_keys(window))
INDEX: Final = decision.index_key(0).removesuffix("0") + ANY


WITH_UPLOAD: Final = ("-@all", *(f"+{command}" for command in (*CONNECTION, "script|load")))
"""Of services that name their script by its digest alone, many times in one pipeline."""


def _group(stream: str) -> Iterator[Grant]:
    """Let a service read a stream as a consumer of its group, which it makes where it is missing."""
    yield Grant(("xreadgroup",), (stream,), Access.READ)
    yield Grant(("xgroup|create", "xack"), (stream,))


def _leased(*keys: str) -> Iterator[Grant]:
    """Let a service hold its lease, the first key, and write its heartbeat, the second."""
    lease, status = keys
    yield Grant(("set", "pexpire", "del"), (lease,))
    yield Grant(("hset",), (status,))


UNIVERSE_SERVICE: Final = User(
    "universe-service",
    reads=(*UNIVERSE, account.KEY, control.BACKOFF_KEY),
    grants=(
        Grant(("set", "del", "copy"), UNIVERSE_STRINGS, Access.BOTH),
        Grant(("hset", "del"), UNIVERSE_HASHES),
        BACKOFF,
    ),
    runs_scripts=True,
)
CANDLE_FEED: Final = User(
    "candle-feed",
    reads=(*UNIVERSE, candles.key(ANY), control.BACKOFF_KEY),
    grants=(
        Grant(("zadd", "zrem", "zremrangebyscore", "zremrangebyrank", "del"), (candles.key(ANY),)),
        Grant(("hset",), (candles.STATUS_KEY,)),
        BACKOFF,
    ),
    root=WITH_UPLOAD,
    runs_scripts=True,
)
MARKETSTATE: Final = User(
    "marketstate",
    reads=(*UNIVERSE, candles.key(ANY)),
    grants=(
        Grant(("hset", "pexpire"), (market_state.key(ANY),)),
        Grant(("xadd",), (market_state.STREAM,)),
        Grant(("hset",), (market_state.STATUS_KEY,)),
    ),
)
BRAIN: Final = User(
    "position-state-brain",
    reads=(
        *UNIVERSE, account.KEY, control.KILL_SWITCH_KEY, control.BACKOFF_KEY, HOLDS, "quantum:position:*", plan.STREAM,
        permit.key(Gate.P33, ANY), permit.EVENTS, result.STREAM, claim.OPEN_KEY, claim.key(ANY),
    ),
    grants=(
        *_group(plan.STREAM),
        *_leased(position.LEASE_KEY, position.STATUS_KEY),
        Grant(("set",), (permit.key(Gate.P33, ANY),)),
        Grant(("xadd",), (permit.EVENTS,)),
        Grant(("hset", "expire"), (position.verdict_key(ANY),)),
        Grant(("hset", "del"), (position.inflight_key(ANY), position.ledger_key(ANY), position.BASELINE_KEY)),
        Grant(("hset", "expire", "del", "unlink"), (position.ACCOUNT_KEY, position.snapshot_key(ANY))),
        Grant(("set",), (position.LEDGER_CURSOR_KEY,)),
        Grant(("set", "del"), (HOLDS,)),
        Grant(("del",), (ADOPTIONS,)),
        BINDING,
        BACKOFF,
    ),
    runs_scripts=True,
)  # fmt: skip
APPLY: Final = User(
    "apply-layer",
    reads=(
        account.KEY, control.KILL_SWITCH_KEY, control.BACKOFF_KEY, HOLDS, plan.STREAM, PERMITS, permit.EVENTS,
        position.ACCOUNT_KEY, position.inflight_key(ANY), position.LEDGER_CURSOR_KEY, position.BASELINE_KEY,
        universe.INSTRUMENTS_KEY, result.STREAM, claim.LEASE_KEY,
        claim.OPEN_KEY, claim.OPENS_KEY, claim.key(ANY),
    ),
    grants=(
        *_group(plan.STREAM),
        *_leased(claim.LEASE_KEY, claim.STATUS_KEY),
        Grant(("xtrim",), (plan.STREAM, result.STREAM)),
        Grant(("xadd",), (result.STREAM,)),
        Grant(("del",), (PERMITS,)),
        Grant(("hset", "expire", "persist"), (claim.key(ANY),)),
        Grant(("hset", "hsetnx", "hdel"), (claim.OPEN_KEY,)),
        Grant(("zadd", "zremrangebyscore", "expire"), (claim.OPENS_KEY,)),
        BINDING,
        BACKOFF,
    ),
    runs_scripts=True,
)  # fmt: skip
DECISION_INTELLIGENCE: Final = User(
    "p35-decision-intelligence",
    reads=(result.STREAM, decision.STATUS_KEY, f"{decision.BUCKET_PREFIX}*", decision.DEAD_LETTER_STREAM, *WINDOWS),
    grants=(
        *_group(result.STREAM),
        Grant(("xclaim",), (result.STREAM,)),
        Grant(("hset", "hincrby"), (decision.STATUS_KEY,), Access.BOTH),
        Grant(("hset", "expire"), (f"{decision.BUCKET_PREFIX}*",)),
        Grant(("append", "expire"), (INDEX,)),
        Grant(("hset", "zadd", "expire", "del"), WINDOWS),
        Grant(("xadd",), (decision.DEAD_LETTER_STREAM,)),
    ),
    root=WITH_UPLOAD,
    runs_scripts=True,
)


def _gate(name: str, permits: str, status: str) -> User:
    """Give a gate that is to come what its rows of the schema name."""
    return User(
        name,
        reads=(ALL_KEYS,),
        grants=(*_group(plan.STREAM), Grant(("set",), (permits,)), Grant(("xadd",), (permit.EVENTS,)),
                Grant(("hset",), (status,))),
        runs_scripts=False,
    )  # fmt: skip


STRATEGY: Final = User("strategy", reads=(ALL_KEYS,), grants=(Grant(("xadd",), (plan.STREAM,)),), root=SHELL)
OPERATOR: Final = User(
    "operator",
    reads=(ALL_KEYS,),
    grants=(
        Grant(("set", "del"), (control.KILL_SWITCH_KEY, HOLDS, ADOPTIONS)),
        Grant(("hset", "hsetnx", "hdel", "del"), (account.KEY,)),
        BACKOFF,
    ),
    root=SHELL,
    runs_scripts=True,
)
READER: Final = User("reader", reads=(ALL_KEYS,), root=SHELL)
ALL: Final = ("+@all", "~*", "&*")
DEFAULT: Final = User("default", root=ALL, is_enabled=False)
"""Nobody's, and it may do all: Redis runs its append-only file's transactions under this name when it starts (7.0.15),
and silently leaves out what it may not do. With less, every restart would lose what scripts and MULTI had written."""
ADMIN: Final = User("admin", root=ALL)
"""The machine's own administrator: loads this list, and changes what only Redis's configuration can."""
REPLICA: Final = User("replica", root=("-@all", "+psync", "+replconf", "+ping"))
SENTINEL: Final = User(
    "sentinel",
    root=(
        "-@all", "&__sentinel__:*", "+multi", "+exec", "+slaveof", "+ping", "+subscribe", "+publish", "+role", "+info",
        "+config|rewrite", "+client|setname", "+client|kill", "+script|kill",
    ),
)  # fmt: skip

USERS: Final = (
    UNIVERSE_SERVICE,
    CANDLE_FEED,
    MARKETSTATE,
    BRAIN,
    APPLY,
    DECISION_INTELLIGENCE,
    _gate("governor", PERMITS, "quantum:governor:status"),
    _gate("portfolio-gate", permit.key(Gate.P26, ANY), "quantum:portfolio:gate_status"),
    STRATEGY,
    OPERATOR,
    READER,
    DEFAULT,
    ADMIN,
    REPLICA,
    SENTINEL,
)


def acl_template() -> str:
    """Write the whole list, without passwords."""
    return "".join(f"{user.line()}\n" for user in USERS)
