"""What can go wrong between us and the exchange, as types a caller can decide on.

Two questions matter: may it be asked again, and, for an order, can it have been executed. `not_executed` answers the
second: true only where the exchange, or the fact that nothing was sent, proves that nothing was done.
No error carries a URL, a signature, a key or another library's message, which would carry them.
"""

from microservices.exchange import codes
from microservices.runtime import Away

_MAX_TEXT = 200

FAILED_TEXTS = ("Service Unavailable.", "Internal error; unable to process your request. Please try again.")
"""The texts that make a 503 a failed operation, letter by letter: a proxy may say something like them of a request
that it has passed on."""


class ExchangeError(Away):
    """Something between us and the exchange went wrong; a loop that meets it tries again after a pause.

    Args:
        request: method and path, e.g. `GET /fapi/v1/klines`; never the query, which is signed.
        why: one line.
    """

    def __init__(self, request: str, why: str) -> None:
        super().__init__(f"{request}: {why}")
        self.request = request
        self.why = why

    @property
    def not_executed(self) -> bool:
        """Whether it is certain that the exchange did nothing; for an order, false means: ask for it."""
        return False


class Unreachable(ExchangeError):
    """No whole answer came: DNS, refused, TLS, timeout, connection lost.

    Args:
        request: method and path.
        why: one line.
        sent: whether the request may have left this machine; false where no connection was made.
    """

    def __init__(self, request: str, why: str, *, sent: bool) -> None:
        super().__init__(request, why)
        self.sent = sent

    @property
    def not_executed(self) -> bool:
        """True where no connection was made at all."""
        return not self.sent


class BadAnswer(ExchangeError):
    """An answer came that is not what the endpoint gives: HTML, truncated, too large, not JSON, a wrong type."""


class Throttled(ExchangeError):
    """429 (slow down) or 418 (banned): nothing was done, and nothing may be asked before `retry_after_s`."""

    def __init__(self, request: str, status: int, retry_after_s: float, code: int | None = None, msg: str = "") -> None:
        super().__init__(request, f"HTTP {status}, retry after {retry_after_s:g} s{_said(code, msg)}")
        self.status = status
        self.retry_after_s = retry_after_s
        self.code = code
        self.msg = msg

    @property
    def banned(self) -> bool:
        """Whether the IP address is banned (418) rather than only slowed down (429)."""
        return self.status == 418

    @property
    def not_executed(self) -> bool:
        """Always true: a limited request is refused before it is worked on."""
        return True


class Rejected(ExchangeError):
    """4xx: the exchange, or the firewall before it, refused the request and did nothing."""

    def __init__(self, request: str, status: int, code: int | None, msg: str) -> None:
        super().__init__(request, f"HTTP {status}{_said(code, msg)}")
        self.status = status
        self.code = code
        self.msg = msg

    @property
    def not_executed(self) -> bool:
        """Always true: codes that leave the outcome open come as `ServerFault`."""
        return True


class ServerFault(ExchangeError):
    """5xx, 408, or a code whose text leaves the outcome open: the order may have been executed.

    Binance's general information page gives 503 four meanings, told apart by the text. "Unknown error, please check
    your request or try again later.": the outcome is unknown. "Service Unavailable.": "100% failure". "Internal error;
    unable to process your request. Please try again.": "a failure API operation and you can resend your request".
    -1008 "Request throttled by system-level protection": "100% failure". Anything else may have been executed
    (https://developers.binance.com/docs/derivatives/usds-margined-futures/general-info).
    """

    def __init__(self, request: str, status: int, code: int | None, msg: str) -> None:
        super().__init__(request, f"HTTP {status}{_said(code, msg)}")
        self.status = status
        self.code = code
        self.msg = msg

    @property
    def not_executed(self) -> bool:
        """True for the three failures that 503 documents, else false; a code that says otherwise is believed."""
        if self.code == codes.SERVER_BUSY:
            return True
        return self.status == 503 and self.code not in codes.NEVER_FAILED and self.msg in FAILED_TEXTS


def clean_text(text: str) -> str:
    """Cut a foreign text to one printable line that is safe in a log."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text[: 4 * _MAX_TEXT]).split())
    return line if len(line) <= _MAX_TEXT else line[: _MAX_TEXT - 1] + "…"


def _said(code: int | None, msg: str) -> str:
    told = " ".join(part for part in ("" if code is None else str(code), msg) if part)
    return f": {told}" if told else ""
