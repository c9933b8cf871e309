"""Which build runs: from the release's file, from git, or unknown."""

import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from microservices.runtime.build_info import ROOT, BuildInfo, read_build

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def checkout(root: Path, head: str) -> Path:
    git = root / ".git"
    git.mkdir(parents=True)
    (git / "HEAD").write_text(head)
    return git


def test_a_release_says_what_it_is(tmp_path: Path) -> None:
    """The RELEASE file wins, and its lines may stand in any order and case."""
    checkout(tmp_path, COMMIT)
    (tmp_path / "RELEASE").write_text(f"COMMIT={'f' * 40}\nversion = 1.2.3\n\n# a line without sense\nbranch=main\n")
    build = read_build(tmp_path)
    assert build == BuildInfo("1.2.3", "f" * 40, "main")
    assert str(build) == "1.2.3+fffffff"


def test_a_release_that_lacks_something_says_unknown(tmp_path: Path) -> None:
    """Nothing is made up."""
    (tmp_path / "RELEASE").write_text("version=1.2.3\n")
    assert str(read_build(tmp_path)) == "1.2.3+unknown"


def test_a_checkout_names_its_commit(tmp_path: Path) -> None:
    """A branch's commit is found loose."""
    git = checkout(tmp_path, "ref: refs/heads/main\n")
    (git / "refs" / "heads").mkdir(parents=True)
    (git / "refs" / "heads" / "main").write_text(f"{COMMIT}\n")
    assert read_build(tmp_path) == BuildInfo(metadata.version("quantum-trader"), COMMIT, "main")


def test_a_packed_commit_is_found(tmp_path: Path) -> None:
    """After git has packed its refs the commit is still known."""
    git = checkout(tmp_path, "ref: refs/heads/topic/x\n")
    (git / "packed-refs").write_text(
        f"# pack-refs with: peeled\n{'a' * 40} refs/heads/other\n{COMMIT} refs/heads/topic/x\n"
    )
    build = read_build(tmp_path)
    assert (build.commit, build.branch) == (COMMIT, "topic/x")


def test_a_detached_head_is_a_commit_without_a_branch(tmp_path: Path) -> None:
    """A tag that was checked out has no branch."""
    checkout(tmp_path, f"{COMMIT}\n")
    build = read_build(tmp_path)
    assert (build.commit, build.branch) == (COMMIT, "unknown")


def test_a_linked_work_tree_names_its_own_commit(tmp_path: Path) -> None:
    """There .git is a file that points elsewhere, and the refs are in the common directory."""
    common = checkout(tmp_path / "main", "ref: refs/heads/main\n")
    (common / "refs" / "heads").mkdir(parents=True)
    (common / "refs" / "heads" / "topic").write_text(COMMIT)
    linked = common / "worktrees" / "tree"
    linked.mkdir(parents=True)
    (linked / "HEAD").write_text("ref: refs/heads/topic\n")
    (linked / "commondir").write_text("../..\n")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / ".git").write_text(f"gitdir: {linked}\n")
    build = read_build(tree)
    assert (build.commit, build.branch) == (COMMIT, "topic")


@pytest.mark.parametrize("head", ["", "ref: refs/heads/none\n", "not a commit\n"])
def test_what_cannot_be_read_is_unknown(tmp_path: Path, head: str) -> None:
    """A broken checkout does not stop a daemon."""
    checkout(tmp_path, head)
    assert read_build(tmp_path).commit == "unknown"


def test_code_without_a_checkout_is_unknown(tmp_path: Path) -> None:
    """Neither file nor git: say so."""
    assert read_build(tmp_path).commit == "unknown"


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this copy is no checkout")
@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_this_very_checkout_is_read_as_git_reads_it() -> None:
    """The reading without git agrees with git."""
    git = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert read_build().commit == git.stdout.strip()
