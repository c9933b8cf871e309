"""Releases are told apart by what is in them, and none is made of a checkout that is not whole."""

import os
import shutil
import socket
from pathlib import Path

import pytest

from ops.deploy import packages
from ops.deploy import release as releases
from ops.deploy.catalog import UNITS
from ops.deploy.checks_units import listeners
from ops.deploy.machine import Fault, Places, switch_link
from ops.deploy.release import PARTS, Release, build, current, digest_of, prune, version_of
from tests.support.daemon import ROOT


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A checkout of the test's own."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for part in PARTS:
        (shutil.copytree if (ROOT / part).is_dir() else shutil.copy2)(ROOT / part, folder / part)
    return folder


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """A machine's places below the test's folder."""
    found = Places(opt=tmp_path / "opt")
    found.releases.mkdir(parents=True)
    return found


def test_a_version_is_the_content(source: Path) -> None:
    """What python leaves behind changes nothing; one byte of code does."""
    before = version_of(source)
    (source / "ops" / "__pycache__").mkdir(exist_ok=True)
    (source / "ops" / "__pycache__" / "x.pyc").write_bytes(b"x")
    (source / "ai_engine" / "_compiled.so").write_bytes(b"x")
    assert version_of(source) == before
    (source / "ops" / "new.py").write_text("")
    assert version_of(source) != before


@pytest.mark.parametrize("mark", ["<<<<<<< HEAD", ">>>>>>> branch"])
def test_the_marks_of_a_merge_are_refused(source: Path, mark: str) -> None:
    """They have been in production before; the file is named."""
    (source / "microservices" / "runtime" / "clock.py").write_text(f"x = 1\n{mark}\n")
    with pytest.raises(Fault, match=r"clock\.py holds the marks"):
        version_of(source)


@pytest.mark.parametrize("part", ["pyproject.toml", "microservices/apply_layer/main.py", "ops/proof_universe.sh"])
def test_a_checkout_that_lacks_a_part_is_refused(source: Path, part: str) -> None:
    """A copy that broke off is no release."""
    (source / part).unlink()
    with pytest.raises(Fault, match="is no whole checkout"):
        version_of(source)


def test_a_release_without_its_file_is_incomplete(places: Places) -> None:
    """The RELEASE file is written last: without it the installation was broken off."""
    release = Release(places.releases / "1")
    assert release.incomplete() == "is not there"
    release.path.mkdir()
    assert release.incomplete() == "has no RELEASE file: its installation was broken off"


def test_what_runs_is_never_built_anew_under_itself(
    source: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole release is taken as it is; one that was edited while it runs is left alone, and another put beside it."""
    monkeypatch.setattr(packages, "install", install_nothing)
    monkeypatch.setattr(packages, "compile_all", lambda _: None)
    monkeypatch.setattr(releases, "write_whole", lambda path, content, _: path.write_text(content))
    first = build(places, source, None)
    switch_link(places.current, first.path)
    assert build(places, source, None) == first
    edited = first.path / "ops" / "edited.py"
    edited.write_text("")
    second = build(places, source, None)
    assert (second.version, second.incomplete()) == (f"{first.version}.2", "")
    assert edited.exists()
    assert first.incomplete().startswith("was changed since it was built")


def install_nothing(places: Places, root: Path, wheels: Path | None) -> None:
    """Put empty programs where an environment has them."""
    programs = root / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("python", *(unit.name for unit in UNITS)):
        (programs / name).touch(0o755)


def test_current_is_a_link_to_a_release_or_a_fault(places: Places, tmp_path: Path) -> None:
    """Neither a folder in its place, nor a link to elsewhere, is taken for one."""
    assert current(places) is None
    switch_link(places.current, places.releases / "1")
    assert current(places) == Release(places.releases / "1")
    switch_link(places.current, tmp_path)
    with pytest.raises(Fault, match="which is no release"):
        current(places)
    places.current.unlink()
    places.current.mkdir()
    with pytest.raises(Fault, match="is no link"):
        current(places)


def test_pruning_keeps_what_runs_and_what_ran(places: Places) -> None:
    """However old they are."""
    for number in range(6):
        (places.releases / f"{number}").mkdir()
    switch_link(places.current, places.releases / "0")
    switch_link(places.previous, places.releases / "1")
    prune(places, kept=2)
    left = {path.name for path in places.releases.iterdir()}
    assert {"0", "1"} <= left
    assert len(left) <= 4


def test_a_digest_names_every_file(source: Path) -> None:
    """Moving a file's content to another name is another release."""
    before = digest_of(source)
    (source / "README.md").write_text((source / "README.md").read_text() + "x")
    assert digest_of(source) != before


def test_a_listener_is_found_with_its_process() -> None:
    """By this machine's own tables, for both families; a free port has none."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert listeners(port) == {os.getpid()}
    assert listeners(port) == set()
