"""Every mode reaches its own exchange and no other."""

import pytest

from microservices.exchange import base_url, check_host, check_websocket_host, market_stream_url, websocket_url


@pytest.mark.parametrize("mode", ["paper", "testnet", "mainnet"])
def test_default_bases_belong_to_their_mode(mode: str) -> None:
    """What a mode uses by default is what it allows."""
    check_host(mode, base_url(mode))
    check_websocket_host(mode, websocket_url(mode))
    check_websocket_host(mode, market_stream_url(mode))
    assert market_stream_url(mode) == websocket_url(mode) + "/market"


@pytest.mark.parametrize(
    ("mode", "url"),
    [
        ("testnet", "https://demo-fapi.binance.com"),
        ("testnet", "https://DEMO-FAPI.binance.com/"),
        ("testnet", "https://testnet.binancefuture.com:443"),
        ("paper", "http://localhost:9999"),
        ("paper", "http://127.0.0.42:1"),
        ("paper", "http://[::1]:8060"),
    ],
)
def test_allowed(mode: str, url: str) -> None:
    """Every documented host of a mode, and all of loopback for paper, is accepted."""
    check_host(mode, url)


@pytest.mark.parametrize(
    ("mode", "url"), [("testnet", "wss://demo-fstream.binance.com"), ("paper", "ws://127.0.0.1:8060/market")]
)
def test_stream_bases_allowed(mode: str, url: str) -> None:
    """The same for streams, under their own hosts and paths."""
    check_websocket_host(mode, url)


@pytest.mark.parametrize(
    ("mode", "url", "says"),
    [
        ("mainnet", "wss://fstream.binancefuture.com", "belongs to mode testnet"),
        ("mainnet", "wss://fapi.binance.com", "is unknown"),
        ("mainnet", "ws://fstream.binance.com", "TLS"),
        ("mainnet", "wss://fstream.binance.com/private", "/market"),
        ("mainnet", "https://fstream.binance.com", "of the form wss"),
        ("paper", "ws://192.168.1.5:8060", "loopback"),
    ],
)
def test_stream_bases_refused(mode: str, url: str, says: str) -> None:
    """Another mode's stream, one in clear, a REST base in its place."""
    with pytest.raises(ValueError, match=says):
        check_websocket_host(mode, url)


@pytest.mark.parametrize(
    ("mode", "url", "says"),
    [
        ("testnet", "https://fapi.binance.com", "belongs to mode mainnet"),
        ("mainnet", "https://testnet.binancefuture.com", "belongs to mode testnet"),
        ("mainnet", "https://demo-fapi.binance.com", "belongs to mode testnet"),
        ("mainnet", "wss://fstream.binance.com", "base URL of the form https"),
        ("mainnet", "https://fapi.binance.com.evil.example", "is unknown"),
        ("mainnet", "https://127.0.0.1:8060", "is unknown"),
        ("mainnet", "http://fapi.binance.com", "TLS"),
        ("mainnet", "https://fapi.binance.com:8443", "TLS"),
        ("paper", "https://fapi.binance.com", "loopback"),
        ("paper", "http://192.168.1.5:8060", "loopback"),
        ("paper", "http://localhost.evil.example", "loopback"),
        ("paper", "http://0.0.0.0:8060", "loopback"),
        ("mainnet", "https://user:secret@fapi.binance.com", "user name"),
        ("mainnet", "https://fapi.binance.com/fapi", "no path"),
        ("mainnet", "https://fapi.binance.com?x=1", "no query"),
        ("paper", "ws://127.0.0.1:8060", "base URL of the form https"),
        ("paper", "127.0.0.1:8060", "base URL of the form"),
        ("paper", "ftp://127.0.0.1", "base URL of the form"),
        ("paper", "http://127.0.0.1:port", "is not a URL"),
        ("paper", "", "base URL of the form"),
        ("live", "https://fapi.binance.com", "mode 'live'"),
    ],
)
def test_refused_with_one_sentence(mode: str, url: str, says: str) -> None:
    """A host of another mode, an unknown one, one in clear or an odd URL is refused in one line that says why."""
    with pytest.raises(ValueError, match=says) as refusal:
        check_host(mode, url)
    assert "\n" not in str(refusal.value)
    assert "secret" not in str(refusal.value)
