"""Which build this is: the release's own file, else the checkout's commit, read without running git."""

import re
from importlib import metadata
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[2]
UNKNOWN = "unknown"
_COMMIT = re.compile(r"[0-9a-f]{40,64}")


class BuildInfo(msgspec.Struct, frozen=True):
    """Version, commit and branch; `unknown` where nothing says it."""

    version: str
    commit: str
    branch: str

    def __str__(self) -> str:
        """Give `version+commit`, the commit shortened to 7 digits."""
        commit = self.commit[:7] if self.commit != UNKNOWN else UNKNOWN
        return f"{self.version}+{commit}"


def read_build(root: Path = ROOT) -> BuildInfo:
    """Read the build of the code under `root`: its RELEASE file (KEY=VALUE lines), else its git checkout."""
    release = _read(root / "RELEASE")
    if release is not None:
        values = dict(line.strip().split("=", 1) for line in release.splitlines() if "=" in line)
        fields = {name.strip().lower(): value.strip() for name, value in values.items()}
        return BuildInfo(*(fields.get(name) or UNKNOWN for name in ("version", "commit", "branch")))
    commit, branch = _git_head(root / ".git")
    return BuildInfo(_installed_version(), commit, branch)


def _installed_version() -> str:
    try:
        return metadata.version("quantum-trader")
    except metadata.PackageNotFoundError:
        return UNKNOWN


def _git_head(git: Path) -> tuple[str, str]:
    """Read commit and branch from a `.git` directory, or from the file that stands for one in a linked work tree."""
    common = git
    pointer = _read(git) if git.is_file() else None
    if pointer is not None and pointer.startswith("gitdir:"):
        git = git.parent / pointer.removeprefix("gitdir:").strip()
        common = git / (_read(git / "commondir") or ".").strip()
    head = (_read(git / "HEAD") or "").strip()
    if not head.startswith("ref: "):
        return (head if _COMMIT.fullmatch(head) else UNKNOWN), UNKNOWN
    ref = head.removeprefix("ref: ").strip()
    commit = (_read(common / ref) or _packed(common, ref)).strip()
    return (commit if _COMMIT.fullmatch(commit) else UNKNOWN), ref.removeprefix("refs/heads/")


def _packed(common: Path, ref: str) -> str:
    for line in (_read(common / "packed-refs") or "").splitlines():
        commit, _, name = line.partition(" ")
        if name == ref:
            return commit
    return ""


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
