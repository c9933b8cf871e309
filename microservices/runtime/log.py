"""Log lines of every daemon: `YYYY-MM-DD HH:MM:SS [LEVEL] message`, UTC, on standard error."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

# Libraries whose own chatter says nothing to an operator, and at DEBUG would log signed requests.
QUIET_LIBRARIES = ("urllib3", "websockets", "redis", "asyncio", "aiohttp")


def printable(text: str) -> str:
    r"""Escape line breaks and all else that does not print, so that no value can fake a second line.

    >>> printable("BTC\nUSDT")
    'BTC\\nUSDT'
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode("ascii") for char in text
    )


class LineFormatter(logging.Formatter):
    """Format one record as one line; a traceback follows indented, so that no line of it looks like a record."""

    converter = staticmethod(time.gmtime)  # UTC

    def __init__(self) -> None:
        super().__init__("%(asctime)s [%(levelname)s] %(message)s", "%Y-%m-%d %H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """Format the record, with a traceback of our own: another handler's may be kept in it, unescaped."""
        kept, record.exc_text = record.exc_text, None
        text = super().format(record)
        record.exc_text = kept
        return text

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's own name)
        """Format the line without its traceback."""
        return printable(super().formatMessage(record))

    def formatException(self, ei: object) -> str:  # noqa: N802 (logging's own name)
        """Format the traceback, each line indented."""
        text = super().formatException(ei)  # type: ignore[arg-type]  # logging's own tuple, passed on as it came
        return "\n".join(f"    {printable(line)}" for line in text.splitlines())


class StandardError(logging.StreamHandler[TextIO]):
    """Write to whatever standard error is at that moment."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self.setFormatter(LineFormatter())

    @property
    def stream(self) -> TextIO:
        """Standard error as it is now."""
        return sys.stderr

    @stream.setter
    def stream(self, _: TextIO) -> None:
        """Ignore another stream: this handler has only the one."""


@contextmanager
def logging_to_stderr(level: str = "INFO") -> Iterator[None]:
    """Send every logger's records to standard error while this lasts.

    Args:
        level: the least level that is written; `set_level` changes it later.
    """
    root = logging.getLogger()
    handler = StandardError()
    old_level = root.level
    root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(capture=True)
    for name in QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        root.removeHandler(handler)
        root.setLevel(old_level)


def set_level(level: str) -> None:
    """Change the least level that is written."""
    logging.getLogger().setLevel(level)
