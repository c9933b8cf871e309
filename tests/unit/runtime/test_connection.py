"""Where to connect: every form of the settings, and refusals that show no password."""

from pathlib import Path

import pytest
from redis.connection import SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError

from microservices.runtime import (
    CommonSettings,
    Refused,
    SettingError,
    connect,
    load_settings,
)
from microservices.runtime.redis_connection import SOCKET_TIMEOUT_S, describe, require_version
from microservices.runtime.redis_sentinel import PrimaryConnection
from microservices.runtime.stream_consumer import LONGEST_BLOCK_MS


def options(**environ: str) -> dict[str, object]:
    return connect(load_settings(CommonSettings, environ), "quantum-test").connection_pool.connection_kwargs


def place(**environ: str) -> str:
    return describe(load_settings(CommonSettings, environ))


def refusal(**environ: str) -> str:
    with pytest.raises(SettingError) as caught:
        connect(load_settings(CommonSettings, environ), "quantum-test")
    return str(caught.value)


def test_the_defaults_are_the_local_server() -> None:
    """Without settings: 127.0.0.1:6379, database 0, nobody's name."""
    found = options()
    assert (found["host"], found["port"], found["db"]) == ("127.0.0.1", 6379, 0)
    assert (found["username"], found["password"]) == (None, None)
    assert place() == "127.0.0.1:6379"


def test_nothing_is_sent_twice_and_answers_are_bytes() -> None:
    """The options whose library defaults would break the chain's promises are all set."""
    found = options()
    assert found["protocol"] == 2
    assert found["decode_responses"] is False
    assert found["retry"].get_retries() == 0  # type: ignore[attr-defined]  # Retry, kept as an object by the library
    assert found["retry_on_error"] == []
    assert found["socket_timeout"] == SOCKET_TIMEOUT_S
    assert found["client_name"] == "quantum-test"
    assert SOCKET_TIMEOUT_S * 1000 >= 2 * LONGEST_BLOCK_MS


def test_host_port_and_database_are_taken() -> None:
    """The three variables and the user are used where no URL is set."""
    found = options(REDIS_HOST="::1", REDIS_PORT="7", REDIS_DB="3", REDIS_USERNAME="p33", REDIS_PASSWORD="secret")
    assert (found["host"], found["port"], found["db"]) == ("::1", 7, 3)
    assert (found["username"], found["password"]) == ("p33", "secret")
    assert place(REDIS_HOST="::1", REDIS_PORT="7") == "[::1]:7"


def test_a_password_file_is_read_without_its_line_break(tmp_path: Path) -> None:
    """The variable wins over the file, and the file's last line break is not part of it."""
    file = tmp_path / "password"
    file.write_text("from file\n")
    assert options(REDIS_PASSWORD_FILE=str(file))["password"] == "from file"
    assert options(REDIS_PASSWORD_FILE=str(file), REDIS_PASSWORD="env")["password"] == "env"
    missing = str(tmp_path / "none")
    assert refusal(REDIS_PASSWORD_FILE=missing) == (
        f"REDIS_PASSWORD_FILE='{missing}': allowed is a file that this user can read"
    )


def test_a_url_wins_and_says_all() -> None:
    """User, password and database of a URL are decoded and used."""
    found = options(REDIS_URL="redis://p33:s%40e@h.example:7000/4", REDIS_HOST="other", REDIS_USERNAME="other")
    assert (found["host"], found["port"], found["db"]) == ("h.example", 7000, 4)
    assert (found["username"], found["password"]) == ("p33", "s@e")
    assert place(REDIS_URL="redis://p33:secret@h.example:7000/4") == "h.example:7000"


def test_a_url_without_user_and_password_leaves_them_to_the_variables() -> None:
    """A place in the URL and the secret in its file."""
    found = options(REDIS_URL="redis://h", REDIS_USERNAME="p33", REDIS_PASSWORD="secret")
    assert (found["port"], found["db"], found["username"], found["password"]) == (6379, 0, "p33", "secret")


def test_tls_is_checked() -> None:
    """A rediss URL verifies certificate and name; a private authority is named by its file."""
    settings = load_settings(CommonSettings, {"REDIS_URL": "rediss://h:1/0?ssl_ca_certs=/etc/ca.pem"})
    pool = connect(settings, "quantum-test").connection_pool
    assert issubclass(pool.connection_class, SSLConnection)
    assert pool.connection_kwargs["ssl_cert_reqs"] == "required"
    assert pool.connection_kwargs["ssl_check_hostname"] is True
    assert pool.connection_kwargs["ssl_ca_certs"] == "/etc/ca.pem"


def test_a_unix_socket_is_taken() -> None:
    """Path and database of a unix URL."""
    settings = load_settings(CommonSettings, {"REDIS_URL": "unix:///run/redis/redis.sock?db=2"})
    pool = connect(settings, "quantum-test").connection_pool
    assert issubclass(pool.connection_class, UnixDomainSocketConnection)
    assert (pool.connection_kwargs["path"], pool.connection_kwargs["db"]) == ("/run/redis/redis.sock", 2)
    assert describe(settings) == "/run/redis/redis.sock"


def test_sentinels_are_taken() -> None:
    """Several addresses, one without its port, the name they watch the primary under, login and database."""
    url = "redis+sentinel://p33:s%40e@h1:1,h2,h3:3/quantum/4"
    settings = load_settings(CommonSettings, {"REDIS_URL": url})
    pool = connect(settings, "quantum-test").connection_pool
    assert issubclass(pool.connection_class, PrimaryConnection)
    found = pool.connection_kwargs
    assert found["sentinels"].service == "quantum"
    assert (found["username"], found["password"], found["db"]) == ("p33", "s@e", 4)
    assert describe(settings) == "quantum of sentinels h1:1, h2:26379, h3:3"
    bare = options(REDIS_URL="redis+sentinel://h/quantum", REDIS_USERNAME="p33", REDIS_PASSWORD="secret")
    assert (bare["db"], bare["username"], bare["password"]) == (0, "p33", "secret")


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://h:1,h2:1",
        "redis+sentinel://h:1,:2/mymaster",
        "redis+sentinel://h:1,h2:x/mymaster",
        "redis+sentinel://h:1,h2:1/mymaster/zero",
        "redis+sentinel://h:1/mymaster?ssl_ca_certs=/x",
        "redis+sentinel:///mymaster",
        "http://h:1",
        "127.0.0.1:6379",
        "redis://",
        "redis:///0",
        "redis://h:99999/0",
        "redis://h:port/0",
        "redis://h/zero",
        "redis://h/0?db=1",
        "redis://h/0?socket_timeout=1",
        "redis://h/0?ssl_ca_certs=/x",
        "rediss://h/0?ssl_cert_reqs=none",
        "unix://",
        "unix:///a?db=x",
        "redis://h/0?db",
    ],
)
def test_a_url_that_cannot_be_used_is_refused(url: str) -> None:
    """Whatever the URL says that nobody obeys is a refusal, never silently left out."""
    text = refusal(REDIS_URL=url)
    assert text.startswith(f"REDIS_URL='{url}': allowed is redis://host:port/db, rediss://host:port/db or unix:///path")


def test_a_refused_url_shows_no_password() -> None:
    """Nor a part of one that was not encoded as it should be."""
    for url in ("http://u:hunter2@h", "redis://:hun/ter2@h:1/0", "redis://h/0?password=hunter2"):
        assert "ter2" not in refusal(REDIS_URL=url)


class Answering:
    """A server that says which version it is."""

    def __init__(self, info: dict[str, object]) -> None:
        self._info = info

    def info(self, section: str) -> dict[str, object]:
        return self._info if section == "server" else {}


@pytest.mark.parametrize("version", ["7.0.15", "7.0.0", "8.2.1", "10.0"])
def test_a_new_enough_server_is_accepted(version: str) -> None:
    """Versions are compared as numbers."""
    require_version(Answering({"redis_version": version}), 7)  # type: ignore[arg-type]  # all of Redis it needs
    assert version


@pytest.mark.parametrize("info", [{"redis_version": "6.2.14"}, {"redis_version": "x"}, {}])
def test_an_old_or_unknown_server_is_refused_with_one_line(info: dict[str, object]) -> None:
    """An older server lacks what exact counting stands on."""
    with pytest.raises(Refused, match=r"^Redis \S+ is too old: 7\.0 or newer is required$"):
        require_version(Answering(info), 7)  # type: ignore[arg-type]  # all of Redis it needs


def test_a_client_connects_only_when_it_is_used() -> None:
    """Making the client of a server that is away is no error; its first command is."""
    client = connect(load_settings(CommonSettings, {"REDIS_PORT": "1"}), "quantum-test")
    with client, pytest.raises(RedisConnectionError):
        client.ping()
