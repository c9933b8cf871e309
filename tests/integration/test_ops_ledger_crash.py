"""Whenever an append is killed, the ledger is the one of before or the one of after, whole and sound."""

import os
import random
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.record.append import append
from ops.record.book import chain
from ops.record.verify import verified
from tests.support.daemon import ROOT
from tests.support.ledger import operation, record, three_entries
from tests.support.ledger_crasher import STEPS

KILLS = 200
LATEST_US = 2_000
"""An append in memory takes about a millisecond: every step is hit."""


def crasher(ledger: Path, step: str) -> subprocess.Popen[str]:
    """Start the process that appends and is killed."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.ledger_crasher", str(ledger), step],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def quick_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: an fsync is quick there, and a kill loses nothing either way."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def test_two_hundred_kills_lose_nothing(quick_folder: Path) -> None:
    """After each the ledger is sound, still holds what it held, and at most one file of the dead is left beside it."""
    ledger = quick_folder / "ledger.md"
    moments = random.Random(8)
    held: list[bytes] = []
    with crasher(ledger, "random") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(KILLS):
            process.stdin.write(f"{moments.randrange(LATEST_US)}\n")
            process.stdin.flush()
            assert process.stdout.readline() == "killed\n"
            data = ledger.read_bytes()
            entries = [placed.raw for placed in chain(data)]
            assert entries[len(entries) - len(held) :] == held
            assert len(entries) > len(held)
            held = entries
            assert verified(data).fault == ""
            assert {path.name for path in quick_folder.iterdir()} <= {"ledger.md", ".ledger.md.new"}
            if len(held) > 20:  # small again, so that the time goes into kills and not into a long file
                ledger.unlink()
                held = []
        process.stdin.close()
        assert process.wait(30) == 0


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_after_each_step_leaves_the_old_file_or_the_new(tmp_path: Path, step: str) -> None:
    """Up to the rename the old bytes, from then on the new ones; the next append finds its way."""
    ledger = tmp_path / "ledger.md"
    ledger.write_bytes(three_entries())
    with crasher(ledger, step) as process:
        assert process.wait(30) == -9
    data = ledger.read_bytes()
    if step == "renamed":
        assert verified(data)[0] == 4
    else:
        assert data == three_entries()
    assert (tmp_path / ".ledger.md.new").exists() is (step in ("half_written", "synced"))
    assert record(ledger).returncode == 0
    after = verified(ledger.read_bytes())
    assert (after.sound, after.fault) == (len(chain(data)) + 1, "")
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.md"]


def test_file_and_folder_are_on_the_disk_when_it_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut is no kill: the new file before the rename, its name in the folder after it."""
    synced: list[tuple[bool, bool]] = []
    ledger, real = tmp_path / "ledger.md", os.fsync

    def noted(descriptor: int) -> None:
        synced.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), ledger.exists()))
        real(descriptor)

    monkeypatch.setattr("ops.record.store.os.fsync", noted)
    append(ledger, operation(), complain=pytest.fail)
    assert synced == [(False, False), (True, True)]


def test_a_disk_without_room_leaves_the_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails midway is an error, the file stays, and nothing is left beside it."""
    ledger = tmp_path / "ledger.md"
    ledger.write_bytes(three_entries())

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ops.record.store.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        append(ledger, operation(), complain=pytest.fail)
    assert ledger.read_bytes() == three_entries()
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.md"]
