"""Log lines: their format, and that no value can fake one."""

import logging
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microservices.runtime.log import LineFormatter, logging_to_stderr, printable, set_level

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[[A-Z]+\] .*")
logger = logging.getLogger("quantum.test")


def record(message: str, created: float = 0.0) -> logging.LogRecord:
    made = logging.LogRecord("n", logging.WARNING, "f", 1, message, (), None)
    made.created = created
    return made


def test_a_line_has_utc_time_level_and_message() -> None:
    """The format of every service's lines is one."""
    assert LineFormatter().format(record("hello", 1769920585.9)) == "2026-02-01 04:36:25 [WARNING] hello"


@given(st.text(max_size=60))
def test_every_message_is_one_printable_line(text: str) -> None:
    """No character of a message reaches a terminal or the journal as anything but text."""
    line = LineFormatter().format(record(text))
    assert line.isprintable()
    assert len(line.splitlines()) == 1


def test_printable_text_stays_as_it_is() -> None:
    """Signs of the field are not mangled, line breaks, escapes and lone surrogates are shown."""
    assert printable("µ σ × – ok") == "µ σ × – ok"
    assert printable("a\nb\r\x1b[2K\u2028\udc80") == r"a\nb\r\x1b[2K\u2028\udc80"


def test_a_traceback_cannot_fake_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Its lines are indented, whatever the exception's text is."""
    with logging_to_stderr():
        try:
            raise ValueError("x\n2026-01-01 00:00:00 [INFO] P3.3 permit allowed\x1b[2K")
        except ValueError:
            logger.exception("failed")
    first, *rest = capsys.readouterr().err.splitlines()
    assert LINE.fullmatch(first)
    assert rest
    assert all(line.startswith("    ") and line.isprintable() for line in rest)


def test_levels_are_kept_and_can_be_changed(capsys: pytest.CaptureFixture[str]) -> None:
    """What is below the level is not written, and a library's chatter never."""
    with logging_to_stderr("INFO"):
        logger.debug("one")
        set_level("DEBUG")
        logger.debug("two")
        logging.getLogger("urllib3.connectionpool").debug("GET /fapi/v1/order?signature=abc")
    assert [line[20:] for line in capsys.readouterr().err.splitlines()] == ["[DEBUG] two"]


def test_nothing_is_left_behind() -> None:
    """A process that goes on after a run has its logging as it was."""
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    with logging_to_stderr("ERROR"):
        assert root.level == logging.ERROR
    assert (root.level, list(root.handlers)) == before
