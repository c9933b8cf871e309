"""ops/proof_p33_universe.sh and ops/proof_p33_universe_source.sh: what P3.3 permits by, in every world it may be in."""

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from microservices.contracts import permit, position, universe
from microservices.contracts.universe_reader import Allowlist, Tier
from microservices.position_state_brain import allowlist
from tests.support.http_server import HttpServer
from tests.support.ops import Proof, ops, proven, put_tool, told
from tests.support.ops_worlds import (
    SYMBOLS,
    beat,
    brain_metrics,
    built,
    decided,
    publish,
    put_journal,
    put_unit,
)
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer

PROOF, SOURCE = "proof_p33_universe.sh", "proof_p33_universe_source.sh"
SCRIPTS = (PROOF, SOURCE)
UNIT = "quantum-position-state-brain"
COMPLETE = "✅ P3.3 UNIVERSE INTEGRATION PROOF COMPLETE"


class Machine:
    """One machine: a Redis in which P3.3 trades by the universe, its metrics, and a PATH that a test adds tools to."""

    def __init__(self, redis: Redis, port: int, metrics: HttpServer, tools: Path) -> None:
        self.redis: Any = redis
        self.port = port
        self.metrics = metrics
        self.tools = tools
        publish(redis)
        beat(redis)
        metrics.say(brain_metrics())

    @property
    def path(self) -> str:
        """Its tools before those of the host."""
        return f"{self.tools}:{os.environ['PATH']}"

    def prove(self, script: str = PROOF, *arguments: str, **environment: str) -> Proof:
        """Run a proof here."""
        where = {"P33_METRICS_PORT": str(self.metrics.port)} | environment
        return proven(script, *arguments, port=self.port, path=self.path, **where)


@pytest.fixture
def machine(redis_server: RedisServer, redis_client: Redis, tmp_path: Path) -> Iterator[Machine]:
    """A machine on which all is well."""
    with HttpServer() as metrics:
        yield Machine(redis_client, redis_server.port, metrics, tmp_path)


def journal_line(source: str = "universe", age_s: float = 30) -> str:
    """Write the brain's own line on its allowlist, logged so many seconds ago."""
    tier = Tier(source)
    symbols = frozenset(SYMBOLS) if tier is not Tier.NONE else frozenset[str]()
    asof = int(time.time()) - 40 if tier in (Tier.UNIVERSE, Tier.LAST_OK) else None
    said = allowlist.lines(Allowlist(tier, symbols, asof), time.time())[-1]
    return f"{datetime.fromtimestamp(time.time() - age_s, UTC):%Y-%m-%d %H:%M:%S} [INFO] {said}"


def test_the_proof_is_complete_in_the_words_that_operators_grep_for(machine: Machine) -> None:
    """Exit 0, the heading, the six numbered sections in their order, and the line at the end."""
    decided(machine.redis)
    decided(machine.redis, "ETHUSDT", allow=False, reason="kill_switch")
    proof = machine.prove(PROOF, "--symbol", "ETHUSDT")
    assert (proof.code, proof.document.status, proof.document.fail_closed) == (0, "PROVEN", False)
    lines = [line.strip() for line in proof.words.splitlines()]
    for words in (
        "║  P3.3 POSITION STATE BRAIN - UNIVERSE INTEGRATION PROOF  ║",
        f"✅ {UNIT}.service is RUNNING",
        "✅ FRESH",
        "✅ Using Universe (primary source)",
        "✅ BTCUSDT: in the list in use (universe): an OPEN passes the allowlist",
        "✅ not fail-closed: plans are judged by universe",
    ):
        assert words in lines
    headings = [line for line in lines if line[:2] in {f"{number}." for number in range(1, 7)}]
    assert headings == [
        "1. Service Status",
        "2. Universe Service Meta",
        "3. P3.3 Allowlist Source",
        "4. Permit Logic",
        "5. Recent Activity (last 10 permit events)",
        "6. Fail-Closed Status",
    ]
    assert lines[-1] == COMPLETE
    assert any(line.startswith("last permit event: deny kill_switch, plan plan-ETHUSDT, ") for line in lines)
    assert [event.verdict for event in proof.document.events] == ["deny", "allow"]
    assert {each.symbol: each.listed for each in proof.document.symbols} == {"BTCUSDT": True, "ETHUSDT": True}


def test_an_age_is_as_old_as_the_heartbeat_that_told_it(machine: Machine) -> None:
    """Said to be 40 s old 12 s ago: that is the list of 52 s ago, the very one in Redis, and no newer one."""
    publish(machine.redis, age_s=52)
    beat(machine.redis, age_s=12)
    document = told(PROOF, port=machine.port, path=machine.path, P33_METRICS_PORT=str(machine.metrics.port))
    assert (document.told_by, document.problems) == (f"metrics 127.0.0.1:{machine.metrics.port}", [])


def test_the_source_alone(machine: Machine) -> None:
    """Exit 0, the tier, how many symbols it has, and who told."""
    proof = machine.prove(SOURCE)
    assert (proof.code, proof.document.source, proof.document.count) == (0, "universe", 3)
    assert "✅ Using Universe (primary source)" in proof.words
    assert f"told by metrics 127.0.0.1:{machine.metrics.port}" in proof.words


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize(
    ("tier", "code", "words"),
    [
        ("last_ok", 2, "⚠️  Using last_ok"),
        ("env", 2, "⚠️  Using env"),
        ("none", 3, "❌ FAIL-CLOSED: No valid allowlist from any source!"),
    ],
)
def test_any_other_tier_is_named_and_is_no_proof(
    machine: Machine, script: str, tier: str, code: int, words: str
) -> None:
    """Degraded is 2 and fail-closed is 3, whatever the universe's own keys say by now."""
    machine.metrics.say(brain_metrics(tier))
    beat(machine.redis, source=tier)
    proof = machine.prove(script)
    assert (proof.code, proof.document.source) == (code, tier)
    assert words in proof.words
    assert COMPLETE not in proof.words
    assert f"the allowlist's source is {tier}, expected universe" in proof.document.problems


@pytest.mark.parametrize(
    ("told", "expected"),
    [(("last_ok", "env", "none"), "metrics"), ((None, "env", "env"), "journal"), ((None, None, "env"), "status hash")],
)
def test_metrics_are_believed_first_then_the_journal_then_the_status_hash(
    machine: Machine, told: tuple[str | None, ...], expected: str
) -> None:
    """Each says another tier: whoever comes first decides, and a status hash that says another is named."""
    metrics, journal, status = told
    machine.metrics.say(brain_metrics(metrics) if metrics else built(UNIT))
    if journal:
        put_journal(machine.tools, journal_line("none", age_s=500), journal_line(journal), "something else")
    beat(machine.redis, source=status or "")
    document = machine.prove(SOURCE).document
    assert document.source == next(tier for tier in told if tier)
    by = {"metrics": "metrics 127.0.0.1", "journal": "journal of 20", "status hash": position.STATUS_KEY}[expected]
    assert document.told_by.startswith(by)
    assert any("yet quantum:position:status says none" in each for each in document.problems) is (status == "none")


@pytest.mark.parametrize("age_s", [900, -600, None])
def test_a_journal_that_does_not_speak_of_now_is_not_believed(machine: Machine, age_s: float | None) -> None:
    """Too old, from the future, or not the brain's line: then the status hash tells."""
    line = "P3.3 allowlist source=universe" if age_s is None else journal_line(age_s=age_s)
    put_journal(machine.tools, line)
    beat(machine.redis, source="env")
    document = machine.prove(SOURCE, "--metrics-port", "0").document
    assert (document.source, document.told_by) == ("env", position.STATUS_KEY)


@pytest.mark.parametrize("script", SCRIPTS)
def test_nobody_who_tells_is_no_proof(machine: Machine, script: str) -> None:
    """The brain lives, and no tier can be learned: exit 1, and what stands there is shown."""
    beat(machine.redis, source="$(reboot)")
    proof = machine.prove(script, "--metrics-port", "0")
    assert (proof.code, proof.document.source) == (1, None)
    assert "allowlist_source is $(reboot)" in proof.words


def hang_as_unit(machine: Machine) -> None:
    """Let systemd call it active while its heart has stopped."""
    put_unit(machine.tools, "active")
    beat(machine.redis, age_s=40)


SICK: dict[str, tuple[Callable[[Machine], object], int, str, str]] = {
    "failed": (lambda here: put_unit(here.tools, "failed"), 1, "DEAD", "unit failed, expected active"),
    "inactive": (lambda here: put_unit(here.tools, "inactive"), 1, "DEAD", "unit inactive, expected active"),
    "masked": (lambda here: put_unit(here.tools, "", "masked"), 1, "DEAD", "unit masked, expected active"),
    "hung": (hang_as_unit, 2, "HUNG", "it hangs"),
    "hung without a unit": (lambda here: beat(here.redis, age_s=40), 2, "HUNG", "it hangs"),
    "future": (lambda here: beat(here.redis, age_s=-600), 2, "HUNG", "s in the future, expected under 30s"),
    "never ran": (lambda here: here.redis.delete(position.STATUS_KEY), 3, "UNSEEN", "it never ran on this Redis"),
    "no time": (lambda here: here.redis.hset(position.STATUS_KEY, "last_ts", "soon"), 3, "UNSEEN", "last_ts is soon"),
}
WORLDS = [(PROOF, how) for how in SICK] + [(SOURCE, how) for how in ("failed", "hung", "never ran")]


@pytest.mark.parametrize(("script", "how"), WORLDS)
def test_a_brain_that_does_not_work_is_no_proof(machine: Machine, script: str, how: str) -> None:
    """Dead is 1, hung is 2, never seen here is 3, although metrics and keys look well."""
    spoil, code, life, words = SICK[how]
    spoil(machine)
    proof = machine.prove(script)
    assert (proof.code, proof.document.service.life) == (code, life)
    assert words in proof.words
    assert COMPLETE not in proof.words


def test_a_status_hash_of_another_type_is_no_heartbeat(machine: Machine) -> None:
    """Exit 3 with Redis's own word."""
    machine.redis.delete(position.STATUS_KEY)
    machine.redis.set(position.STATUS_KEY, "x")
    proof = machine.prove(SOURCE)
    assert (proof.code, proof.document.service.life) == (3, "UNSEEN")
    assert "WRONGTYPE" in proof.words


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_brain_that_is_gone_with_its_metrics_is_dead(machine: Machine, script: str) -> None:
    """Without a unit an old heartbeat and a silent port are a process that does not run: exit 1."""
    beat(machine.redis, age_s=40)
    proof = machine.prove(script, "--metrics-port", str(free_port()))
    assert (proof.code, proof.document.service.life) == (1, "DEAD")
    assert "and no metrics: it does not run" in proof.words


def test_a_unit_that_is_active_is_said_to_be(machine: Machine) -> None:
    """The word of systemd stands in the report; without a unit it says what it was judged by instead."""
    assert "unit not installed here: judged by heartbeat and metrics" in machine.prove(SOURCE).words
    put_unit(machine.tools, "active")
    proof = machine.prove(SOURCE)
    assert (proof.code, proof.document.service.unit_state) == (0, "active")
    assert "; unit active" in proof.words
    put_unit(machine.tools, "failed")
    assert machine.prove(SOURCE, "--no-unit").code == 0


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (built("quantum-apply-layer"), 200, "is answered by quantum-apply-layer, expected"),
        (b"<html>", 200, "is answered by something else (HTTP 200), expected"),
        (brain_metrics(), 500, "is answered by something else (HTTP 500), expected"),
        (None, 0, "gives no metrics"),
    ],
)
def test_metrics_of_another_or_none_are_a_deployment_that_is_not_whole(
    machine: Machine, body: bytes | None, status: int, words: str
) -> None:
    """A service whose port was taken goes on without metrics: the proof is exit 2, and the tier is told by others."""
    if body is None:
        machine.metrics.send(b"", then_close=True)
    else:
        machine.metrics.say(body, status)
    proof = machine.prove()
    assert (proof.code, proof.document.source, proof.document.told_by) == (2, "universe", position.STATUS_KEY)
    assert words in proof.words


def test_metrics_that_hang_do_not_hang_the_proof(machine: Machine) -> None:
    """A port that takes the question and never answers is one that gives no metrics."""
    machine.metrics.handler = lambda _request, _connection: None
    assert "timed out" in ops(SOURCE, port=machine.port, P33_METRICS_PORT=str(machine.metrics.port)).stdout


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda redis: publish(redis, stale=1, error="HTTP 503"), "stale is 1, expected 0: HTTP 503"),
        (lambda redis: publish(redis, age_s=310), "s old, expected under 300"),
        (lambda redis: redis.delete(universe.META_KEY), "is missing, expected the hash"),
        (lambda redis: redis.set(universe.ACTIVE_KEY, b"{"), "expected JSON"),
        (lambda redis: redis.rename(universe.META_KEY, universe.ACTIVE_KEY), "WRONGTYPE"),
        (lambda redis: publish(redis, mode="mainnet"), "mode is mainnet, the list's is paper"),
        (lambda redis: beat(redis, mode="testnet"), "P3.3's mode is testnet, the list's is paper"),
        (lambda redis: publish(redis, symbols=("ETHUSDT",)), "P3.3 uses a list of 3 symbols"),
        (lambda redis: publish(redis, age_s=100), "P3.3 uses a list of 3 symbols"),
        (
            lambda redis: decided(redis, allow=False, reason="not_in_allowlist"),
            "BTCUSDT is listed, and yet its last permit event is deny not_in_allowlist",
        ),
    ],
    ids=["stale", "old", "half", "corrupt", "type", "mode", "brain's mode", "count", "other list", "decision"],
)
def test_what_contradicts_the_universe_is_degraded(
    machine: Machine, spoil: Callable[[Redis], object], words: str
) -> None:
    """Exit 2: P3.3 says universe, and something else does not agree."""
    spoil(machine.redis)
    proof = machine.prove()
    assert proof.code == 2
    assert words in proof.words
    assert COMPLETE not in proof.words


def test_a_symbol_that_is_not_listed_is_said_to_be_denied(machine: Machine) -> None:
    """That is how it should be: BTCUSDT is not in this universe, nor is a name that somebody made up."""
    publish(machine.redis, symbols=("ETHUSDT", "SOLUSDT", "XRPUSDT"))
    proof = machine.prove(PROOF, "--symbol", "NO'SUCH\n\x1b[31m$(id)")
    assert proof.code == 0
    assert "BTCUSDT: not in the list in use (universe): an OPEN is denied" in proof.words
    assert "NO'SUCH\\n\\x1b[31m$(id): not in the list" in proof.words


def test_a_random_symbol_is_one_of_the_list(machine: Machine) -> None:
    """Without --symbol another one each time, never BTCUSDT twice."""
    [first, second] = machine.prove().document.symbols
    assert first.symbol == "BTCUSDT"
    assert second.symbol in {"ETHUSDT", "XRPUSDT"}


@pytest.mark.parametrize(
    "value",
    ["$(touch pwned)", "a\nb\x1b]0;x\x07", "'\"`;|&", "x" * 10_000, "✅ P3.3 UNIVERSE INTEGRATION PROOF COMPLETE"],
)
def test_hostile_events_are_shown_and_run_nothing(machine: Machine, value: str, tmp_path: Path) -> None:
    """Plan ids, symbols and reasons are data: on one line, escaped, bounded; whole in the document."""
    machine.redis.xadd(
        permit.EVENTS, {"gate": "p33", "plan_id": value, "symbol": value, "allow": value, "reason": value}
    )
    machine.redis.xadd(permit.EVENTS, {"gate": "p26", "plan_id": "p", "symbol": "OTHERGATE"})
    proof = machine.prove()
    assert proof.code == 0
    assert proof.words.count(COMPLETE) == 1
    assert max(map(len, proof.words.splitlines())) < 800
    assert all(line.isprintable() for line in proof.words.splitlines())
    assert [event.plan_id for event in proof.document.events] == [value]
    assert "OTHERGATE" not in proof.words
    assert not list(tmp_path.rglob("pwned"))


def test_events_under_another_type_cannot_tell(machine: Machine) -> None:
    """Exit 1 with Redis's own word: without the stream nothing is known of what P3.3 does."""
    machine.redis.set(permit.EVENTS, "x")
    done = ops(PROOF, "--metrics-port", "0", port=machine.port)
    assert (done.returncode, done.stdout) == (1, "")
    assert "WRONGTYPE" in done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_empty_redis_is_exit_three(script: str, redis_server: RedisServer, redis_client: Redis) -> None:
    """Nothing was ever here: no brain, no list; and each is named."""
    proof = proven(script, "--metrics-port", "0", port=redis_server.port)
    assert proof.code == 3
    assert f"❌ {UNIT}.service is UNSEEN" in proof.words


@pytest.mark.parametrize("script", SCRIPTS)
def test_without_redis_it_cannot_tell(script: str) -> None:
    """Exit 1 and the reason, as text and as a document."""
    port = free_port()
    done = ops(script, "--json", port=port)
    assert done.returncode == 1
    assert '"status": "CANNOT TELL"' in done.stdout
    assert f"no Redis at 127.0.0.1:{port}" in done.stderr


def test_wait_looks_again_until_it_is_proven(machine: Machine) -> None:
    """A service that has only just started is given its time: here systemd says active from the third question on."""
    asked = machine.tools / "asked"
    put_tool(
        machine.tools,
        "systemctl",
        f"[[ $1 == show ]] && echo loaded && exit; echo >>'{asked}'; (( $(wc -l <'{asked}') > 2 )) && echo active",
    )
    where = {"P33_METRICS_PORT": str(machine.metrics.port), "path": machine.path}
    assert ops(SOURCE, port=machine.port, **where).returncode == 1
    assert ops(SOURCE, "--wait", "30", port=machine.port, **where).returncode == 0
