"""Which Binance host belongs to which mode, and the refusal of any other.

Hosts: https://developers.binance.com/docs/derivatives/usds-margined-futures/general-info names the mainnet and
demo REST bases and the testnet's stream base; testnet.binancefuture.com is the testnet's older REST name, and
demo-fstream.binance.com the demo's stream base.
Streams: since 2026 market streams live under `/market` and user data under `/private`
(https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams/Important-WebSocket-Change-Notice);
the base without a path is the old form, retired there on 2026-04-23: it still connects, and then no candle comes.
"""

from collections.abc import Mapping
from ipaddress import ip_address
from types import MappingProxyType
from urllib.parse import SplitResult, urlsplit

PAPER = "paper"

REST_BASES: Mapping[str, str] = MappingProxyType(
    {
        "mainnet": "https://fapi.binance.com",
        "testnet": "https://testnet.binancefuture.com",
        PAPER: "http://127.0.0.1:8060",
    }
)
WEBSOCKET_BASES: Mapping[str, str] = MappingProxyType(
    {
        "mainnet": "wss://fstream.binance.com",
        "testnet": "wss://fstream.binancefuture.com",
        PAPER: "ws://127.0.0.1:8060",
    }
)
_REST_HOSTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "mainnet": ("fapi.binance.com",),
        "testnet": ("testnet.binancefuture.com", "demo-fapi.binance.com"),
    }
)
_WEBSOCKET_HOSTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "mainnet": ("fstream.binance.com",),
        "testnet": ("fstream.binancefuture.com", "demo-fstream.binance.com"),
    }
)


def base_url(mode: str) -> str:
    """Return the REST base of a mode (paper, testnet, mainnet).

    Raises:
        ValueError: the mode is none of the three.
    """
    return _known(mode, REST_BASES)


def websocket_url(mode: str) -> str:
    """Return the stream base of a mode, without the path of a traffic class.

    Raises:
        ValueError: the mode is none of the three.
    """
    return _known(mode, WEBSOCKET_BASES)


def market_stream_url(mode: str) -> str:
    """Return the base of a mode's market streams.

    Raises:
        ValueError: the mode is none of the three.
    """
    return f"{websocket_url(mode)}/market"


def check_host(mode: str, url: str) -> None:
    """Refuse a REST base that does not belong to the mode.

    Mainnet and testnet have fixed hosts, reached over TLS alone, because a key sent in clear is a key lost; paper is
    loopback alone, on any port.

    Raises:
        ValueError: one sentence that says what is wrong with the URL and what is allowed.
    """
    _check(mode, url, ("https", "http"), _REST_HOSTS, ("", "/"))


def check_websocket_host(mode: str, url: str) -> None:
    """Refuse a stream base that does not belong to the mode, as `check_host` does.

    Raises:
        ValueError: one sentence that says what is wrong with the URL and what is allowed.
    """
    _check(mode, url, ("wss", "ws"), _WEBSOCKET_HOSTS, ("", "/", "/market", "/market/"))


def _check(
    mode: str, url: str, schemes: tuple[str, str], hosts: Mapping[str, tuple[str, ...]], paths: tuple[str, ...]
) -> None:
    _known(mode, REST_BASES)
    parts = _split(url, schemes)
    _check_path(parts, paths)
    if mode == PAPER:
        _check_loopback(parts)
    else:
        _check_fixed(mode, parts, hosts)


def _known(mode: str, bases: Mapping[str, str]) -> str:
    if mode not in bases:
        raise ValueError(f"mode {mode!r} is not one of {', '.join(sorted(bases))}")
    return bases[mode]


def _split(url: str, schemes: tuple[str, str]) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"{url!r} is not a URL: {error}") from None
    if parts.scheme not in schemes or not parts.hostname:
        raise ValueError(f"{url!r} is not a base URL of the form {schemes[0]}://host[:port]")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a base URL must not carry a user name or a password")
    return parts


def _check_path(parts: SplitResult, paths: tuple[str, ...]) -> None:
    if parts.path not in paths or parts.query or parts.fragment:
        raise ValueError(f"a base URL for {parts.hostname} must have no query and no path but {_shown(paths)}")


def _shown(paths: tuple[str, ...]) -> str:
    return " or ".join(path for path in paths if path)


def _check_loopback(parts: SplitResult) -> None:
    name = parts.hostname or ""
    if not _is_loopback(name):
        raise ValueError(f"host {name} is not allowed in mode paper: the paper exchange is on loopback alone")


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _check_fixed(mode: str, parts: SplitResult, hosts: Mapping[str, tuple[str, ...]]) -> None:
    name = parts.hostname or ""
    owner = next((other for other, names in hosts.items() if name in names), None)
    if owner != mode:
        whose = f"belongs to mode {owner}" if owner else "is unknown"
        raise ValueError(f"host {name} {whose} and is not allowed in mode {mode}: use {' or '.join(hosts[mode])}")
    if parts.scheme not in ("https", "wss") or parts.port not in (None, 443):
        raise ValueError(f"host {name} is reached over TLS on port 443 alone, not by {parts.scheme} on {parts.port}")
