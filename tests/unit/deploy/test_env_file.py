"""Settings files are read as systemd reads them, or not at all."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.deploy.env_file import filled, parse

NAMES = st.from_regex(r"[A-Z][A-Z0-9_]{0,20}", fullmatch=True)
VALUES = st.text(string.ascii_letters + string.digits + " .,:/=#;{}^$[]-_", max_size=40).map(str.strip)


@given(st.dictionaries(NAMES, VALUES, max_size=8))
def test_what_is_written_is_read(values: dict[str, str]) -> None:
    """Names, and values with all that a setting may hold."""
    assert parse("".join(f"{name}={value}\n" for name, value in values.items())) == (values, [])


@given(st.text())
def test_no_text_breaks_the_reading(text: str) -> None:
    """Rubbish is given back as lines that are unreadable."""
    found = parse(text)
    assert all(line.strip() == line and line for _, line in found.unreadable)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ('A="b c"', "b c"),
        ("A='b c'", "b c"),
        ("A=", ""),
        ("A = b", None),
        ("A=b\\nc", None),
        ('A="b', None),
        ("=b", None),
    ],
)
def test_quotes_go_and_what_systemd_would_read_otherwise_is_refused(line: str, value: str | None) -> None:
    """Escapes and unpaired quotes mean something else to systemd: the line is named, not guessed at."""
    found = parse(line)
    assert found.values == ({} if value is None else {"A": value})
    assert found.unreadable == ([(1, line)] if value is None else [])


def test_the_last_of_two_lines_counts_and_comments_do_not() -> None:
    """As for systemd."""
    assert parse("A=1\n# A=2\n;A=3\n\nA=4\n").values == {"A": "4"}


def test_a_template_s_line_is_filled_where_it_stands() -> None:
    """Commented out or not, its place and all other lines stay; a name without a line is refused."""
    template = "# says\n#A=1\nB=2\n#AA=3\n"
    assert filled(template, {"A": "x", "B": "y"}) == "# says\nA=x\nB=y\n#AA=3\n"
    with pytest.raises(KeyError):
        filled(template, {"C": "z"})
