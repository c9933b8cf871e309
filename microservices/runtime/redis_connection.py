"""The one way to connect to Redis: every option explicit, because the library's defaults change between versions."""

import inspect
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from redis import Redis
from redis.backoff import NoBackoff
from redis.connection import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.retry import Retry

from microservices.runtime.errors import Refused
from microservices.runtime.redis_sentinel import PrimaryConnection, Sentinels
from microservices.runtime.settings import CommonSettings, SettingError

SOCKET_TIMEOUT_S = 6.0  # longer than any block (at most 2 s), so that a timeout always means trouble
CONNECT_TIMEOUT_S = 2.5
HEALTH_CHECK_INTERVAL_S = 30  # a connection idle for longer is asked first whether it still lives
MAX_CONNECTIONS = 64
REQUIRED_MAJOR = 7

URL_ALLOWED = "redis://host:port/db, rediss://host:port/db or unix:///path?db=0, or redis+sentinel://host:port,host:port/service/db"
SENTINEL_SCHEME = "redis+sentinel"
SENTINEL_PORT = 26379
_TLS_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


class Target(NamedTuple):
    """Where to connect, without the password."""

    scheme: str
    place: str
    options: dict[str, Any]
    password: str


def connect(settings: CommonSettings, client_name: str) -> Redis:
    """Make a client of the configured server; it connects at its first command.

    Answers are bytes (RESP2, nothing decoded), and no command is ever sent twice by the library: a lost reply of a
    script that moves money must reach its caller as an error.

    Raises:
        SettingError: REDIS_URL or REDIS_PASSWORD_FILE cannot be used.
    """
    target = _target(settings)
    connection_class: type[Connection] = {
        "redis": Connection,
        "rediss": SSLConnection,
        "unix": UnixDomainSocketConnection,
        SENTINEL_SCHEME: PrimaryConnection,
    }[target.scheme]
    pool = ConnectionPool(
        connection_class=connection_class,
        max_connections=MAX_CONNECTIONS,
        password=target.password or None,
        client_name=client_name,
        protocol=2,
        decode_responses=False,
        socket_read_size=65536,
        encoding="utf-8",
        encoding_errors="strict",
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        retry_on_timeout=False,
        retry_on_error=[],
        health_check_interval=HEALTH_CHECK_INTERVAL_S,
        **target.options,
        **_options_of_this_version(),
    )
    return Redis.from_pool(pool)


def describe(settings: CommonSettings) -> str:
    """Name the configured server for a person, as `127.0.0.1:6379`; never with a password."""
    return _target(settings).place


def require_version(redis: Redis, major: int = REQUIRED_MAJOR) -> None:
    """Refuse a server older than `major`.0.

    Raises:
        Refused: it is older, or does not say what it is.
    """
    found = str(redis.info("server").get("redis_version", "unknown"))
    first = found.partition(".")[0]
    if not first.isdecimal() or int(first) < major:
        raise Refused(f"Redis {found} is too old: {major}.0 or newer is required")


def _target(settings: CommonSettings) -> Target:
    if settings.redis_url:
        target = _parse_url(settings.redis_url)
    else:
        options = {"host": settings.redis_host, "port": settings.redis_port, "db": settings.redis_db}
        target = Target("redis", _place(settings.redis_host, settings.redis_port), options | _tcp(), "")
    username = target.options.get("username") or settings.redis_username
    password = target.password or _password(settings)
    return target._replace(options=target.options | {"username": username or None}, password=password)


def _parse_url(url: str) -> Target:
    """Take a URL apart; what it does not say is left to the other settings, what nobody understands is refused."""
    try:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        if parts.scheme == SENTINEL_SCHEME:
            place, options, db = _sentinels(parts, query)
        elif parts.scheme == "unix":
            place, db = unquote(parts.path), query.pop("db", "0")
            options = {"path": place}
        else:
            place, options, db = _server(parts, query)
    except ValueError:
        raise SettingError("REDIS_URL", url, URL_ALLOWED) from None
    if parts.scheme not in {"redis", "rediss", "unix", SENTINEL_SCHEME} or not place or not db.isdecimal():
        raise SettingError("REDIS_URL", url, URL_ALLOWED)
    if not set(query) <= set(_TLS_OPTIONS if parts.scheme == "rediss" else ()):
        raise SettingError(
            "REDIS_URL", url, f"{URL_ALLOWED}; after ? only db, and for rediss {', '.join(_TLS_OPTIONS)}"
        )
    if parts.scheme == "rediss":
        options |= {"ssl_cert_reqs": "required", "ssl_check_hostname": True} | query
    login, _, _ = parts.netloc.rpartition("@")
    username, _, password = login.partition(":")
    options |= {"username": unquote(username), "db": int(db)}
    return Target(parts.scheme, place, options, unquote(password))


def _server(parts: SplitResult, query: dict[str, str]) -> tuple[str, dict[str, Any], str]:
    """Read host, port and database of one server.

    Raises:
        ValueError: the port is none.
    """
    host, port = parts.hostname or "", parts.port or 6379
    place = _place(host, port) if host else ""
    return place, {"host": host, "port": port} | _tcp(), parts.path.strip("/") or query.pop("db", "0")


def _sentinels(parts: SplitResult, query: dict[str, str]) -> tuple[str, dict[str, Any], str]:
    """Read the sentinels' addresses, the name under which they watch the primary, and the database.

    Raises:
        ValueError: an address or the name is none.
    """
    addresses = []
    for each in parts.netloc.rpartition("@")[2].split(","):
        one = urlsplit(f"//{each}")
        if not one.hostname or one.path or one.query:
            raise ValueError(each)
        addresses.append((one.hostname, one.port or SENTINEL_PORT))
    service, _, db = unquote(parts.path).strip("/").partition("/")
    if not service:
        raise ValueError(parts.path)
    place = f"{service} of sentinels {', '.join(_place(*address) for address in addresses)}"
    return place, {"sentinels": Sentinels(addresses, service)} | _tcp(), db or query.pop("db", "0")


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _tcp() -> dict[str, Any]:
    return {"socket_keepalive": True}


def _password(settings: CommonSettings) -> str:
    if settings.redis_password:
        return settings.redis_password.reveal()
    if settings.redis_password_file is None:
        return ""
    return _read_password(settings.redis_password_file)


def _read_password(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError):
        raise SettingError("REDIS_PASSWORD_FILE", path, "a file that this user can read") from None


def _options_of_this_version() -> dict[str, Any]:
    """Switch off what newer versions of the library do by themselves, where this version has the switch."""
    known = inspect.signature(Redis.__init__).parameters
    options: dict[str, Any] = {}
    if "legacy_responses" in known:
        options["legacy_responses"] = True
    if "maint_notifications_config" in known:
        from redis.maint_notifications import MaintNotificationsConfig

        options["maint_notifications_config"] = MaintNotificationsConfig(enabled=False)
    if "driver_info" in known:
        options["driver_info"] = None
    else:
        options |= {"lib_name": None, "lib_version": None}
    return options
