"""Settings: every type, every wrong value, and nothing secret shown."""

import logging
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from microservices.runtime import CommonSettings, Secret, SettingError, load_settings
from microservices.runtime.settings import likely_typos, settings_help, settings_lines, shown


class Mode(StrEnum):
    TESTNET = "testnet"
    MAINNET = "mainnet"


class Settings(CommonSettings, frozen=True, kw_only=True):
    demo_refresh_sec: Annotated[float, Meta(ge=10, le=3600, description="Seconds between two fetches")] = 60.0
    demo_batch: Annotated[int, Meta(ge=1)] = 5
    demo_enabled: bool = True
    demo_size: Decimal = Decimal("1.5")
    demo_mode: Mode = Mode.TESTNET
    demo_symbols: tuple[str, ...] = ()
    demo_modes: tuple[Mode, ...] = (Mode.TESTNET,)
    demo_path: Path | None = None
    demo_limit: Annotated[int | None, Meta(ge=0)] = None
    demo_key: Secret = Secret()
    demo_code: Annotated[str, Meta(pattern="^[a-z]*$", max_length=4)] = ""

    def __post_init__(self) -> None:
        if self.demo_batch > 100 and self.demo_mode is Mode.MAINNET:
            raise SettingError("DEMO_BATCH", self.demo_batch, "at most 100 on mainnet")


def load(**environ: str) -> Settings:
    return load_settings(Settings, environ)


def refusal(**environ: str) -> str:
    with pytest.raises(SettingError) as caught:
        load(**environ)
    return str(caught.value)


def test_an_empty_environment_gives_the_defaults() -> None:
    """Nothing has to be set."""
    settings = load()
    assert settings.demo_refresh_sec == 60.0
    assert settings.redis_port == 6379
    assert settings.metrics_port is None


def test_every_type_is_read_from_text() -> None:
    """The environment is text; a field is what its type says."""
    settings = load(
        DEMO_REFRESH_SEC="10",
        DEMO_BATCH="7",
        DEMO_ENABLED="false",
        DEMO_SIZE="0.10",
        DEMO_MODE="mainnet",
        DEMO_SYMBOLS="BTCUSDT, ETHUSDT,",
        DEMO_MODES="mainnet,testnet",
        DEMO_PATH="/tmp/x",
        DEMO_LIMIT="3",
        DEMO_KEY="abc",
        DEMO_CODE=" ab ",
    )
    assert settings.demo_refresh_sec == 10.0
    assert isinstance(settings.demo_refresh_sec, float)
    assert (settings.demo_batch, settings.demo_enabled) == (7, False)
    assert str(settings.demo_size) == "0.10"
    assert settings.demo_mode is Mode.MAINNET
    assert settings.demo_symbols == ("BTCUSDT", "ETHUSDT")
    assert settings.demo_modes == (Mode.MAINNET, Mode.TESTNET)
    assert (settings.demo_path, settings.demo_limit) == (Path("/tmp/x"), 3)
    assert settings.demo_key.reveal() == "abc"
    assert settings.demo_code == "ab"


@pytest.mark.parametrize("text", ["", " ", "\t"])
def test_an_empty_variable_is_an_unset_one(text: str) -> None:
    """A template's `NAME=` leaves the default."""
    assert load(DEMO_BATCH=text, DEMO_KEY=text.strip(), DEMO_PATH=text) == load()


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("DEMO_REFRESH_SEC", "9.9", "a finite number, at least 10 and at most 3600"),
        ("DEMO_REFRESH_SEC", "nan", "a finite number, at least 10 and at most 3600"),
        ("DEMO_REFRESH_SEC", "inf", "a finite number, at least 10 and at most 3600"),
        ("DEMO_REFRESH_SEC", "1e999", "a finite number, at least 10 and at most 3600"),
        ("DEMO_REFRESH_SEC", "60s", "a finite number, at least 10 and at most 3600"),
        ("DEMO_BATCH", "0", "a whole number, at least 1"),
        ("DEMO_BATCH", "1.5", "a whole number, at least 1"),
        ("DEMO_BATCH", "1_000", "a whole number, at least 1"),
        ("DEMO_ENABLED", "yes", "one of: true, false, 1, 0"),
        ("DEMO_SIZE", "NaN", "a finite decimal number"),
        ("DEMO_SIZE", "-Infinity", "a finite decimal number"),
        ("DEMO_SIZE", "1_0", "a finite decimal number"),
        ("DEMO_SIZE", "١", "a finite decimal number"),
        ("DEMO_MODE", "Mainnet", "one of: testnet, mainnet"),
        ("DEMO_MODES", "testnet,papper", "a comma-separated list, each of it one of: testnet, mainnet"),
        ("DEMO_LIMIT", "null", "a whole number, at least 0"),
        ("DEMO_LIMIT", "-1", "a whole number, at least 0"),
        ("DEMO_CODE", "abcde", "text matching ^[a-z]*$ and of at most 4 characters"),
        ("LOG_LEVEL", "LOUD", "one of: DEBUG, INFO, WARNING, ERROR"),
        ("REDIS_PORT", "65536", "a whole number, at least 1 and at most 65535"),
    ],
)
def test_a_wrong_value_names_itself_and_what_is_allowed(name: str, value: str, allowed: str) -> None:
    """One line tells an operator what to change to what."""
    assert refusal(**{name: value}) == f"{name}='{value}': allowed is {allowed}"


def test_a_refusal_is_one_line_whatever_the_value() -> None:
    """A value with line breaks cannot fake a second line."""
    text = refusal(DEMO_BATCH="1\n2026-01-01 00:00:00 [INFO] all is well\x1b[2K")
    assert text.isprintable()
    assert "\\n2026" in text


def test_settings_that_contradict_each_other_are_refused() -> None:
    """A service checks across its fields when all of them are read."""
    assert load(DEMO_BATCH="101").demo_batch == 101
    assert refusal(DEMO_BATCH="101", DEMO_MODE="mainnet") == "DEMO_BATCH='101': allowed is at most 100 on mainnet"


def test_a_variable_without_a_default_must_be_there() -> None:
    """What nobody can guess is asked for by name."""

    class Needy(CommonSettings, frozen=True, kw_only=True):
        demo_account: str

    with pytest.raises(SettingError, match=r"DEMO_ACCOUNT='': allowed is text"):
        load_settings(Needy, {})
    assert load_settings(Needy, {"DEMO_ACCOUNT": "a"}).demo_account == "a"


def test_a_secret_comes_from_its_credential_file_first(tmp_path: Path) -> None:
    """LoadCredential wins over the environment, and the file's last line break is not part of it."""
    (tmp_path / "DEMO_KEY").write_text("from file \n")
    (tmp_path / "DEMO_BATCH").write_text("77")
    settings = load(CREDENTIALS_DIRECTORY=str(tmp_path), DEMO_KEY="from environment")
    assert settings.demo_key.reveal() == "from file "
    assert settings.demo_batch == 5
    assert load(CREDENTIALS_DIRECTORY=str(tmp_path / "none"), DEMO_KEY="env").demo_key.reveal() == "env"


def test_a_credential_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """A broken credential is no reason to look for another one."""
    (tmp_path / "DEMO_KEY").mkdir()
    text = refusal(CREDENTIALS_DIRECTORY=str(tmp_path), DEMO_KEY="env")
    assert text == f"DEMO_KEY='***': allowed is a text file that this user can read at {tmp_path / 'DEMO_KEY'}"


def test_nothing_secret_is_ever_shown() -> None:
    """Neither a listing, nor a repr, nor a message carries a key or a URL's password."""
    settings = load(DEMO_KEY="hunter2", REDIS_PASSWORD="hunter2", REDIS_URL="redis://me:hunter2@h:1/0")
    seen = [
        *settings_lines(settings),
        repr(settings.demo_key),
        f"{settings.demo_key}",
        str(settings),
        str(SettingError("DEMO_KEY", settings.demo_key, "another")),
        str(SettingError("REDIS_URL", "redis://:hunter2/x@h:1/0?password=hunter2&db=a", "a URL")),
    ]
    assert [line for line in seen if "hunter2" in line] == []
    assert "DEMO_KEY=***" in settings_lines(settings)
    assert "REDIS_URL=redis://***@h:1/0" in settings_lines(settings)


def test_secrets_are_equal_by_value() -> None:
    """Two secrets compare and hash by what they hold, and an empty one is false."""
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    assert not Secret()


def test_a_likely_typo_is_warned_of_once_and_only_that(caplog: pytest.LogCaptureFixture) -> None:
    """A misspelt variable is not silently without effect; strangers and known ones are left alone."""
    with caplog.at_level(logging.WARNING):
        load(DEMO_BATCHES="3", DEMO_REFRESH_SECS="5", DEMO_UNRELATED_THING="1", PATH="/bin", DEMO_BATCH="6")
    assert [record.getMessage() for record in caplog.records] == [
        "DEMO_BATCHES is not a setting of this service: did you mean DEMO_BATCH?",
        "DEMO_REFRESH_SECS is not a setting of this service: did you mean DEMO_REFRESH_SEC?",
    ]


@pytest.mark.parametrize(
    ("name", "is_typo"),
    [
        ("BINANCE_FUTURES_BSAE_URL", True),
        ("BINANCE_FUTURES_BASEURL", True),
        ("BINANCE_FUTURE_BASE_URL", True),
        ("BINANCE_FUTURES_BASE_URI", True),
        ("BINANCE_FUTURES_URL", True),
        ("BINANCE_FUTURES_WS_URL", False),
    ],
)
def test_another_word_is_another_setting(name: str, is_typo: bool) -> None:
    """Wrong, exchanged and lacking letters, words run together or left out: a slip; a word of its own is none."""
    known = "BINANCE_FUTURES_BASE_URL"
    assert likely_typos([name], [known]) == ([(name, known)] if is_typo else [])


@given(st.text(alphabet="ABCDEFGHIJKLMNOPQRSTUVWXYZ_", min_size=1, max_size=20))
def test_a_known_name_is_never_a_typo(name: str) -> None:
    """Whatever the names are, a setting is not warned of."""
    assert likely_typos([name], [name, name + "X"]) == []


@given(st.text(max_size=40))
def test_any_text_is_taken_or_refused_with_one_line(text: str) -> None:
    """No value of the environment ends in anything but a setting or a SettingError of one line."""
    for name in ("DEMO_REFRESH_SEC", "DEMO_BATCH", "DEMO_SIZE", "DEMO_ENABLED", "DEMO_SYMBOLS", "DEMO_LIMIT"):
        try:
            load(**{name: text})
        except SettingError as error:
            assert str(error).isprintable()
            assert str(error).startswith(f"{name}='")


def test_the_listing_can_be_read_back() -> None:
    """What `--check-config` prints, sorted, is what the environment may say."""
    settings = load(DEMO_SYMBOLS="A,B", DEMO_SIZE="0.10", DEMO_ENABLED="0", DEMO_PATH="/x", DEMO_LIMIT="0")
    lines = settings_lines(settings)
    assert lines == sorted(lines)
    assert load(**dict(line.split("=", 1) for line in lines)) == settings


def test_the_help_has_a_line_for_every_variable() -> None:
    """Every variable is documented with default and bounds."""
    lines = settings_help(Settings)
    assert len(lines) == len(settings_lines(load()))
    wanted = (
        "DEMO_REFRESH_SEC (default 60.0): Seconds between two fetches; a finite number, at least 10 and at most 3600"
    )
    assert wanted in lines


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (True, "true"), (Mode.MAINNET, "mainnet"), ((Mode.MAINNET, "b"), "mainnet,b"), (1.5, "1.5")],
)
def test_values_are_shown_as_they_are_written(value: object, text: str) -> None:
    """A person reads the same text that the environment had."""
    assert shown(value) == text
