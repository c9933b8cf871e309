"""ops/set_account.sh: binds a Redis to the account of a key pair once, and never to another."""

from pathlib import Path

import pytest
from redis import Redis

from microservices.contracts import account
from microservices.contracts.control import Mode
from tests.support.daemon import ROOT
from tests.support.ops import ops, path_of_tools, put_tool
from tests.support.paper import PaperExchange
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer

SCRIPT = "set_account.sh"


def test_a_free_redis_is_bound_once_and_then_left_alone(
    redis_server: RedisServer, redis_client: Redis, paper: PaperExchange, tmp_path: Path
) -> None:
    """Mode, host and the exchange's own alias; on a machine without jq; the second run says that nothing changed.

    The candle feed's own variable is in the same shell, as docs/paper-exchange.md has it, and nobody minds.
    """
    tools = path_of_tools(tmp_path / "tools")
    for tool in ("id", "uname"):
        put_tool(tools, tool, f'exec /usr/bin/{tool} "$@"')
    put_tool(tools, "logger", f'printf "%s " "$@" >>"{tmp_path}/syslog"')
    done = ops(SCRIPT, "--mode", "paper", port=redis_server.port, path=str(tools), **paper.feed_environment())
    assert (done.returncode, done.stderr) == (0, "")
    bound = account.decode(redis_client.hgetall(account.KEY))
    assert bound is not None
    assert (bound.mode, bound.host) == (Mode.PAPER, "127.0.0.1")
    assert bound.account == paper.signed("GET", "/fapi/v2/balance").json[0]["accountAlias"]
    first, second = done.stdout.splitlines()
    assert first == f"bound to mode paper, host '127.0.0.1', account '{bound.account}'"
    assert second.startswith("audit: 20")
    assert "set_account.sh: quantum:cfg:account set to mode paper" in second
    assert "-t quantum-ops -- " in (tmp_path / "syslog").read_text()
    again = ops(SCRIPT, "--mode=paper", port=redis_server.port, **paper.environment())
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.startswith("already bound to mode paper")
    assert "audit:" not in again.stdout
    for secret in (paper.key, paper.secret):
        assert secret not in done.stdout + again.stdout


def test_the_key_pair_may_be_in_files(
    redis_server: RedisServer, redis_client: Redis, paper: PaperExchange, tmp_path: Path
) -> None:
    """As systemd gives them; the files win over the environment."""
    (tmp_path / "BINANCE_API_KEY").write_text(paper.key + "\n")
    (tmp_path / "BINANCE_API_SECRET").write_text(paper.secret + "\n")
    environment = paper.environment() | {"BINANCE_API_KEY": "wrong", "CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert ops(SCRIPT, "--mode", "paper", port=redis_server.port, **environment).returncode == 0
    assert redis_client.exists(account.KEY)


@pytest.mark.parametrize("other", [{"account": "$(id)\n"}, {"mode": "testnet"}, {"host": "fapi.binance.com"}])
def test_a_redis_of_another_account_is_refused_and_left_as_it_is(
    redis_server: RedisServer, redis_client: Redis, paper: PaperExchange, other: dict[str, str]
) -> None:
    """Exit 2 and one line that says what it belongs to."""
    assert ops(SCRIPT, "--mode", "paper", port=redis_server.port, **paper.environment()).returncode == 0
    redis_client.hset(account.KEY, mapping=dict(other.items()))
    before = redis_client.hgetall(account.KEY)
    done = ops(SCRIPT, "--mode", "paper", port=redis_server.port, **paper.environment())
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert next(iter(other.values())).strip() in done.stderr
    assert redis_client.hgetall(account.KEY) == before


def test_what_is_no_binding_cannot_be_told(
    redis_server: RedisServer, redis_client: Redis, paper: PaperExchange
) -> None:
    """Exit 1 with one line; a hash with half of its fields is not completed."""
    redis_client.hset(account.KEY, "mode", "paper")
    done = ops(SCRIPT, "--mode", "paper", port=redis_server.port, **paper.environment())
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert redis_client.hgetall(account.KEY) == {b"mode": b"paper"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"BINANCE_API_KEY": "wrong"}, "GET /fapi/v2/balance"),
        ({"BINANCE_API_KEY": ""}, "BINANCE_API_KEY"),
        ({"BINANCE_FUTURES_BASE_URL": "https://fapi.binance.com"}, "not allowed in mode paper"),
        ({"BINANCE_FUTURES_BASE_URL": "http://127.0.0.1:1"}, "connection"),
        ({"REDIS_URL": "redis://127.0.0.1:1/0"}, "Redis"),
    ],
)
def test_what_is_away_or_wrong_writes_nothing(
    redis_server: RedisServer, redis_client: Redis, paper: PaperExchange, changes: dict[str, str], says: str
) -> None:
    """Exit 1 with one line, and no binding."""
    done = ops(SCRIPT, "--mode", "paper", port=redis_server.port, **(paper.environment() | changes))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert says in done.stderr
    assert not redis_client.exists(account.KEY)


@pytest.mark.parametrize(
    "wrong", [[], ["--mode"], ["--mode", "live"], ["--mode=$(id)"], ["--bogus"], ["--json"], ["--remote"], ["paper"]]
)
def test_usage(wrong: list[str]) -> None:
    """-h is exit 0; what it does not know is exit 1 with the usage on standard error."""
    helped = ops(SCRIPT, "-h", port=free_port())
    assert (helped.returncode, helped.stderr) == (0, "")
    assert f"Usage: ops/{SCRIPT}" in helped.stdout
    done = ops(SCRIPT, *wrong, port=free_port())
    assert (done.returncode, done.stdout) == (1, "")
    assert f"Usage: ops/{SCRIPT}" in done.stderr


def test_a_missing_venv_is_one_line(tmp_path: Path) -> None:
    """It names the command that makes one."""
    (tmp_path / "ops" / "lib").mkdir(parents=True)
    (tmp_path / "ops" / "lib" / "common.sh").write_bytes((ROOT / "ops/lib/common.sh").read_bytes())
    (tmp_path / "ops" / SCRIPT).write_bytes((ROOT / "ops" / SCRIPT).read_bytes())
    done = ops(str(tmp_path / "ops" / SCRIPT), "--mode", "paper", port=free_port())
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "run ops/setup.sh run first" in done.stderr
