"""Releases: built whole from a checkout, told apart by their content, and complete only with their RELEASE file."""

import hashlib
import itertools
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ops.deploy import packages
from ops.deploy.catalog import UNITS
from ops.deploy.machine import Fault, Places, run, write_whole

PARTS: Final = (
    "ai_engine",
    "config",
    "deployment",
    "docs",
    "microservices",
    "ops",
    "README.md",
    "pyproject.toml",
    "setup.py",
)
"""What of a checkout a release holds."""
_LEFT_OUT: Final = shutil.ignore_patterns("__pycache__", "*.pyc", "*.so", "*.egg-info", ".*")
_CONFLICT: Final = re.compile(rb"^(<{7} |>{7} )", re.MULTILINE)
_VERSION: Final = re.compile(r'^version = "([^"]+)"$', re.MULTILINE)
KEPT: Final = 5


@dataclass(frozen=True)
class Release:
    """One release by its folder."""

    path: Path

    @property
    def version(self) -> str:
        """Its name."""
        return self.path.name

    @property
    def python(self) -> Path:
        """Its own interpreter."""
        return self.path / ".venv" / "bin" / "python"

    @property
    def said(self) -> dict[str, str]:
        """What its RELEASE file says; empty where there is none."""
        try:
            lines = (self.path / "RELEASE").read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return {}
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def incomplete(self) -> str:
        """Say in a few words what is missing; empty where it is whole."""
        if not self.path.is_dir():
            return "is not there"
        if not self.said:
            return "has no RELEASE file: its installation was broken off"
        if not os.access(self.python, os.X_OK):
            return "has no interpreter"
        missing = [unit.name for unit in UNITS if not (self.python.parent / unit.name).exists()]
        if missing:
            return f"lacks the program {missing[0]}"
        if (digest := digest_of(self.path)) != self.said.get("digest"):
            return (
                f"was changed since it was built: its content is {digest[:10]}, not {self.said.get('digest', '')[:10]}"
            )
        return ""


def digest_of(root: Path) -> str:
    """Give the SHA-256 over names and contents of what a release holds of a checkout."""
    whole = hashlib.sha256()
    for path in _files(root):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        whole.update(f"{path.relative_to(root)} {content}\n".encode())
    return whole.hexdigest()


def version_of(source: Path) -> str:
    """Name the release that a checkout makes: the project's version and the beginning of its digest.

    Raises:
        Fault: it is no whole checkout of this project, or holds the marks of an unfinished merge.
    """
    missing = [part for part in PARTS if not (source / part).exists()]
    missing += [f"microservices/{unit.package}" for unit in UNITS if not _is_package(source, unit.package)]
    missing += [f"ops/{unit.proof}" for unit in UNITS if unit.proof and not (source / "ops" / unit.proof).exists()]
    if missing:
        raise Fault(f"{source} is no whole checkout: {missing[0]} is missing")
    for path in _files(source):
        if path.suffix in {".py", ".sh", ".lua", ".toml"} and _CONFLICT.search(path.read_bytes()):
            raise Fault(f"{path} holds the marks of an unfinished merge")
    found = _VERSION.search((source / "pyproject.toml").read_text(encoding="utf-8"))
    if found is None:
        raise Fault(f"{source}/pyproject.toml names no version")
    return f"{found[1]}-{digest_of(source)[:10]}"


def build(places: Places, source: Path, wheels: Path | None, *, fresh: bool = False) -> Release:
    """Install a checkout as a release, with a virtual environment of its own; a whole one that is there is taken.

    Args:
        places: where to.
        source: the checkout.
        wheels: a folder of wheels to install from instead of a package index.
        fresh: install packages anew where the current release's would serve.

    Raises:
        Fault: it cannot be built; what was begun is left without a RELEASE file and made anew next time.
    """
    release = _free(places, version_of(source))
    if not release.incomplete():
        return release
    try:
        if release.path.exists():
            shutil.rmtree(release.path)
        release.path.mkdir(parents=True)
        for part in PARTS:
            _copy(source / part, release.path / part)
    except OSError as error:
        raise Fault(f"{release.path} cannot be written: {error.strerror}") from None
    _equip(places, release, wheels, fresh=fresh)
    _write_identity(places, release, source)
    if trouble := release.incomplete():
        raise Fault(f"release {release.version} {trouble}")
    return release


def current(places: Places) -> Release | None:
    """Give the release that `current` points at; None where there is no link.

    Raises:
        Fault: it is no link to a release.
    """
    return _linked(places, places.current)


def previous(places: Places) -> Release | None:
    """Give the release that ran before the current one; None where none did.

    Raises:
        Fault: the link points elsewhere.
    """
    return _linked(places, places.previous)


def prune(places: Places, kept: int = KEPT) -> list[str]:
    """Remove the oldest releases beyond those that are kept; the current and the previous one stay."""
    using = {each.path for each in (current(places), previous(places)) if each is not None}
    old = sorted(places.releases.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)[kept:]
    removed = [path for path in old if path not in using]
    for path in removed:
        shutil.rmtree(path)
    return [path.name for path in removed]


def _free(places: Places, version: str) -> Release:
    """Choose the folder of a version; one that is in use and no longer whole is left alone, and another is taken."""
    using = {each for each in (current(places), previous(places)) if each is not None}
    names = itertools.chain([version], (f"{version}.{number}" for number in itertools.count(2)))
    candidates = (Release(places.releases / name) for name in names)
    return next(each for each in candidates if each not in using or not each.incomplete())


def _linked(places: Places, link: Path) -> Release | None:
    if not os.path.lexists(link):
        return None
    if not link.is_symlink():
        raise Fault(f"{link} is no link: move it away, then deploy again")
    target = link.parent / link.readlink()
    if target.parent != places.releases:
        raise Fault(f"{link} points at {target}, which is no release of {places.releases}")
    return Release(target)


def _equip(places: Places, release: Release, wheels: Path | None, *, fresh: bool) -> None:
    """Give a release its environment: the current release's where it needs the same, else a new one."""
    needs, old = packages.needs_of(places, release.path), current(places)
    if not fresh and old is not None and old.said.get("needs") == needs and not old.incomplete():
        packages.take_over(old.path, release.path)
    else:
        packages.install(places, release.path, wheels)
    packages.compile_all(release.path)


def _write_identity(places: Places, release: Release, source: Path) -> None:
    """Write the RELEASE file, last of all: it is what makes a release complete."""
    commit = _git(source, "rev-parse", "HEAD")
    branch = _git(source, "rev-parse", "--abbrev-ref", "HEAD")
    modified = _git(source, "status", "--porcelain", "--", *PARTS)
    lines = {
        "version": release.version,
        "commit": commit or "unknown",
        "branch": branch or "unknown",
        "modified": "true" if modified else "false",
        "digest": digest_of(release.path),
        "needs": packages.needs_of(places, release.path),
    }
    write_whole(release.path / "RELEASE", "".join(f"{name}={value}\n" for name, value in lines.items()), 0o644)


def _git(source: Path, *arguments: str) -> str:
    """Ask git about a checkout that may be somebody else's; empty where it is none, or git is not installed."""
    try:
        done = run("git", "-c", f"safe.directory={source}", "-C", source, *arguments)
    except Fault:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _is_package(source: Path, package: str) -> bool:
    return all((source / "microservices" / package / room).is_file() for room in ("main.py", "settings.py"))


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=_LEFT_OUT)
    else:
        shutil.copy2(source, target)


def _files(root: Path) -> Iterator[Path]:
    """List what a release holds of a checkout, sorted."""
    for part in PARTS:
        if (root / part).is_file():
            yield root / part
            continue
        for folder, folders, names in os.walk(root / part):
            left_out = _LEFT_OUT(folder, [*folders, *names])
            folders[:] = sorted(name for name in folders if name not in left_out)
            yield from (Path(folder) / name for name in sorted(names) if name not in left_out)
