"""A paper exchange of the test's own: a real process on a free port, ended by its process id."""

import hashlib
import hmac
import json
import os
import secrets
import signal
import time
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode

import requests

from tests.support.daemon import Daemon
from tests.support.ports import free_port
from tests.support.waiting import wait_until

UP_WITHIN_S = 40.0


class Reply(NamedTuple):
    """An answer: HTTP status, decoded JSON, headers."""

    status: int
    json: Any
    headers: dict[str, str]


class PaperExchange:
    """Start, pause, kill and restart one paper exchange on one port.

        with PaperExchange() as paper:
            paper.fault({"fault": "latency", "seconds": 1, "path": "/fapi/v1/order", "times": 1})
            ... paper.base_url, paper.key, paper.secret, paper.environment() ...
            assert paper.requests(path="/fapi/v1/order")

    Args:
        key: the API key it knows; by default one of its own.
        secret: what requests are signed with.
        port: where it listens, or where one listens that somebody else has started and that is only talked to here; a
            free one by default.
        state_file: where the account is kept; needed only where it shall survive `restart`.
        settings: further variables of `paper-exchange.env`, such as PAPER_SEED or PAPER_EXCHANGE_INFO.
    """

    def __init__(
        self,
        *,
        key: str = "",
        secret: str = "",
        port: int = 0,
        state_file: Path | None = None,
        settings: dict[str, str] | None = None,
    ) -> None:
        self.port = port or free_port()
        self.key = key or secrets.token_hex(16)
        self.secret = secret or secrets.token_hex(16)
        self._settings = {"PAPER_WEIGHT_PER_MIN": "0", **(settings or {})}
        if state_file is not None:
            self._settings["PAPER_STATE_FILE"] = str(state_file)
        self._daemon: Daemon | None = None
        self._session = requests.Session()

    @property
    def base_url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def stream_url(self) -> str:
        """Where its market streams are."""
        return f"ws://127.0.0.1:{self.port}/market"

    def environment(self) -> dict[str, str]:
        """Give the variables that point a service of the suite at it."""
        return {
            "TRADING_MODE": "paper",
            "BINANCE_FUTURES_BASE_URL": self.base_url,
            "BINANCE_API_KEY": self.key,
            "BINANCE_API_SECRET": self.secret,
        }

    def feed_environment(self) -> dict[str, str]:
        """Give those of the candle feed, which alone listens to streams."""
        return self.environment() | {"BINANCE_FUTURES_WS_URL": self.stream_url}

    def start(self) -> Self:
        """Start it and wait until it answers."""
        daemon = self.daemon()
        daemon.__enter__()
        self._daemon = daemon

        def up() -> bool:
            assert daemon.is_running, daemon.log()
            return self._answers()

        try:
            wait_until(up, UP_WITHIN_S, what="the paper exchange to answer")
        except BaseException:
            self.stop(signal.SIGKILL)
            raise
        return self

    def daemon(self, *arguments: str) -> Daemon:
        """Make the process without starting it."""
        return Daemon("paper_exchange", *arguments, environment=self.own_environment())

    def own_environment(self) -> dict[str, str]:
        """Give the variables it is started with itself."""
        wanted = {"PAPER_API_KEY": self.key, "PAPER_API_SECRET": self.secret, "PAPER_PORT": str(self.port)}
        return {**wanted, **self._settings}

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it, by default cleanly; SIGKILL is a crash."""
        if self._daemon is not None:
            self._daemon.end(how)
            self._daemon.__exit__(None, None, None)
            self._daemon = None

    def restart(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it and start it again on the same port."""
        self.stop(how)
        self.start()

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._daemon is not None
        return self._daemon.pid

    def log(self) -> str:
        """Give what it has logged since it was started."""
        assert self._daemon is not None
        return self._daemon.log()

    def fault(self, *faults: dict[str, Any]) -> None:
        """Post faults; one that it does not take fails the test."""
        answer = self._session.post(f"{self.base_url}/paper/faults", json=list(faults), timeout=10)
        assert answer.status_code == 200, answer.text

    def clear_faults(self) -> None:
        """End all faults."""
        self._session.delete(f"{self.base_url}/paper/faults", timeout=10)

    def requests(self, *, method: str = "", path: str = "", after: int = 0) -> list[dict[str, Any]]:
        """List what it was asked, oldest first: `seq`, `time_ms`, `method`, `path`, `parameters`, `status`."""
        query: dict[str, str | int] = {"method": method, "path": path, "after": after}
        answer: list[dict[str, Any]] = self._session.get(
            f"{self.base_url}/paper/requests", params=query, timeout=10
        ).json()
        return answer

    def get(self, path: str, **parameters: object) -> Reply:
        """Ask something that needs no signature."""
        return self._reply("GET", path, urlencode(parameters))

    def signed(self, method: str, path: str, **parameters: object) -> Reply:
        """Ask something signed with its own key, timestamped now."""
        query = urlencode({"timestamp": round(time.time() * 1000), **parameters})
        signature = hmac.new(self.secret.encode(), query.encode(), hashlib.sha256).hexdigest()
        return self._reply(method, path, f"{query}&signature={signature}")

    def order(self, symbol: str, side: str, quantity: str | Decimal, **parameters: object) -> Reply:
        """Place a market order by hand, as another client of the account would; the answer is the full one."""
        return self.signed(
            "POST", "/fapi/v1/order", symbol=symbol, side=side, type="MARKET", quantity=str(quantity),
            newOrderRespType="RESULT", **parameters,
        )  # fmt: skip

    def position(self, symbol: str) -> Decimal:
        """Give the signed amount of a position, as positionRisk shows it."""
        rows = self.signed("GET", "/fapi/v2/positionRisk", symbol=symbol).json
        return sum((Decimal(row["positionAmt"]) for row in rows), Decimal(0))

    def mark(self, symbol: str) -> Decimal:
        """Give a symbol's mark price."""
        return Decimal(self.get("/fapi/v1/premiumIndex", symbol=symbol).json["markPrice"])

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.stop(signal.SIGKILL)
        self._session.close()

    def _reply(self, method: str, path: str, query: str) -> Reply:
        headers = {"X-MBX-APIKEY": self.key}
        answer = self._session.request(method, f"{self.base_url}{path}?{query}", headers=headers, timeout=30)
        try:
            document = json.loads(answer.content)
        except ValueError:
            document = answer.text
        return Reply(answer.status_code, document, dict(answer.headers))

    def _answers(self) -> bool:
        try:
            return self._session.get(f"{self.base_url}/fapi/v1/ping", timeout=1).ok
        except (requests.ConnectionError, requests.Timeout):  # it may listen a while before it can answer
            return False
