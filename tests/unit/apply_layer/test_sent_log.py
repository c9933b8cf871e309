"""sent.log: on the disk before the order, whole after any crash."""

import os
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from microservices.apply_layer.sent_log import FILE_NAME, NotLogged, OrderEnd, SentLog, SentOrder
from microservices.contracts.plan import Action, Side
from microservices.runtime import Refused

ORDER = SentOrder(
    plan_id="p1",
    plan_entry_id="1-0",
    symbol="币安人生USDT",
    action=Action.PARTIAL_50,
    side=Side.SELL,
    quantity=Decimal("0.00100"),
    reduce_only=True,
    client_order_id="q1",
    sent_at_ms=1_800_000_000_000,
    source='a "source"\n',
    wait_ms=7,
)
END = OrderEnd(plan_id="p1", result_id="9-0", fields={"plan_id": "p1", "error": ""})


def order(plan_id: str, sent_at_ms: int = ORDER.sent_at_ms) -> SentOrder:
    """Give another plan's order."""
    return msgspec.structs.replace(ORDER, plan_id=plan_id, sent_at_ms=sent_at_ms)


def opened(directory: Path) -> SentLog:
    """Open the log of a directory, as a start does."""
    log = SentLog(directory)
    log.open()
    return log


def test_what_was_logged_is_there_at_the_next_start(tmp_path: Path) -> None:
    """Every field survives, names in other scripts and odd text included."""
    log = opened(tmp_path / "state")
    log.append(ORDER)
    log.append(order("p2"))
    log.end(END)
    again = opened(tmp_path / "state")
    first, second = again.find("p1"), again.find("p2")
    assert first is not None
    assert (first.sent, first.end) == (ORDER, END)
    assert second is not None
    assert second.end is None
    assert again.unended() == [order("p2")]
    assert again.find("p3") is None


def test_a_plan_gets_one_line(tmp_path: Path) -> None:
    """I-10: whatever Redis says, a second order for a plan is refused, also after a restart and after its end."""
    log = opened(tmp_path)
    log.append(ORDER)
    with pytest.raises(NotLogged, match="p1"):
        log.append(ORDER)
    log.end(END)
    with pytest.raises(NotLogged, match="p1"):
        opened(tmp_path).append(ORDER)


def test_a_line_is_on_the_disk_before_append_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fdatasync comes after the write, and without it nothing is sent."""
    log = opened(tmp_path)
    sizes = []
    monkeypatch.setattr(os, "fdatasync", lambda file: sizes.append(os.fstat(file).st_size))
    log.append(ORDER)
    assert sizes == [(tmp_path / FILE_NAME).stat().st_size]


@pytest.mark.parametrize("broken", ["write", "fdatasync"])
def test_a_failed_write_sends_nothing_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """A full disk refuses the order; what it left of a line is cut off before the next one, and that one is whole."""
    log = opened(tmp_path)
    log.append(order("p0"))
    real = os.write

    def fails(file: int, data: bytes = b"") -> int:
        if broken == "write":
            real(file, data[:20])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, broken, fails)
        with pytest.raises(NotLogged, match="No space left"):
            log.append(ORDER)
    assert log.find("p1") is None
    log.append(order("p2"))
    again = opened(tmp_path)
    assert again.find("p1") is None
    assert [kept.plan_id for kept in again.unended()] == ["p0", "p2"]


def test_a_short_write_is_a_failed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may take fewer bytes than it was given."""
    log = opened(tmp_path)
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, data: real(file, data[:-5]))
        with pytest.raises(NotLogged, match="bytes"):
            log.append(ORDER)
    log.append(ORDER)
    assert opened(tmp_path).unended() == [ORDER]


def test_an_end_that_cannot_be_written_is_known_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The result stands in Redis already; the next start finds it there."""
    log = opened(tmp_path)
    log.append(ORDER)

    def fails(_file: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fails)
        log.end(END)
    logged = log.find("p1")
    assert logged is not None
    assert logged.end == END
    assert "p1" in caplog.text
    assert opened(tmp_path).unended() == [ORDER]


def test_an_end_without_an_order_is_nothing(tmp_path: Path) -> None:
    """A plan that ends without an order leaves no line."""
    log = opened(tmp_path)
    log.end(END)
    assert (tmp_path / FILE_NAME).read_bytes() == b""


def test_a_torn_last_line_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash in the midst of a write: its order was never sent, and the file goes on after the last whole line."""
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, lambda _: None)  # of what a crash leaves nothing is asked of the disk
    log, path = opened(tmp_path), tmp_path / FILE_NAME
    log.append(ORDER)
    whole = path.stat().st_size
    log.append(order("p2"))
    log.close()
    raw = path.read_bytes()
    for size in range(whole, len(raw)):
        path.write_bytes(raw[:size])
        again = opened(tmp_path)
        assert again.find("p1") is not None
        assert again.find("p2") is None
        again.append(order("p3"))
        again.close()
        last = opened(tmp_path)
        assert [kept.plan_id for kept in last.unended()] == ["p1", "p3"]
        last.close()


def test_zeros_that_a_power_cut_left_at_the_end_are_dropped(tmp_path: Path) -> None:
    """Some file systems grow a file before its data is there."""
    opened(tmp_path).append(ORDER)
    path = tmp_path / FILE_NAME
    path.write_bytes(path.read_bytes() + bytes(512))
    assert opened(tmp_path).unended() == [ORDER]
    assert path.read_bytes().endswith(b"\n")


def test_a_line_that_cannot_be_read_refuses_the_start(tmp_path: Path) -> None:
    """It may be the order that must not be sent again: somebody has to look."""
    opened(tmp_path).append(ORDER)
    path = tmp_path / FILE_NAME
    path.write_bytes(b"rubbish\n" + path.read_bytes())
    with pytest.raises(Refused, match="line 1 cannot be read"):
        opened(tmp_path)


def test_old_ended_orders_are_dropped_and_open_ones_never(tmp_path: Path) -> None:
    """48 h keep the file small; an order without an end stays until it has one."""
    log = opened(tmp_path)
    for plan_id, sent_at_ms in (("old", 1), ("old-open", 2), ("new", 1_000)):
        log.append(order(plan_id, sent_at_ms))
    for plan_id in ("old", "new"):
        log.end(msgspec.structs.replace(END, plan_id=plan_id))
    assert log.drop_ended_before(500) == 1
    assert log.drop_ended_before(500) == 0
    log.append(order("after"))
    for reader in (log, opened(tmp_path)):
        assert reader.find("old") is None
        assert [kept.plan_id for kept in reader.unended()] == ["old-open", "after"]
        assert [end.plan_id for end in reader.ended_newest_first()] == ["new"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE_NAME]


def test_the_file_is_not_written_anew_for_a_few_old_lines(tmp_path: Path) -> None:
    """Orders wait meanwhile: of a log with an order a second something is old every minute."""
    log = opened(tmp_path)
    for number in range(11):
        log.append(order(f"p{number}", number))
        log.end(msgspec.structs.replace(END, plan_id=f"p{number}"))
    before = (tmp_path / FILE_NAME).read_bytes()
    assert log.drop_ended_before(1) == 0
    assert (tmp_path / FILE_NAME).read_bytes() == before
    assert log.find("p0") is not None
    assert log.drop_ended_before(2) == 2
    assert log.find("p0") is None


def test_ends_come_newest_first_whenever_their_orders_were_sent(tmp_path: Path) -> None:
    """A rollback loses the newest results, and an order that was asked for for an hour may have one of them."""
    log = opened(tmp_path)
    for plan_id in ("slow", "p1", "p2"):
        log.append(order(plan_id))
    for plan_id in ("p1", "p2", "slow"):
        log.end(msgspec.structs.replace(END, plan_id=plan_id))
    for reader in (log, opened(tmp_path)):
        assert [end.plan_id for end in reader.ended_newest_first()] == ["slow", "p2", "p1"]


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    """It says what is traded; also after it was written anew."""
    log = opened(tmp_path)
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    log.append(ORDER)
    log.end(END)
    assert log.drop_ended_before(ORDER.sent_at_ms + 1) == 1
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
