"""What a release installs from where there is no network: a folder of wheels, made once and kept in .build."""

import hashlib
import os
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from tests.support.daemon import ROOT

DOWNLOAD_S = 300.0


def wheels() -> Path:
    """Give the folder, made now where it is not there: the versions that this interpreter has itself.

    Skips the test where they can be had neither from pip's cache nor from its index.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = project["project"]["dependencies"] + project["project"]["optional-dependencies"]["paper"]
    wanted += project["build-system"]["requires"]
    versions = sorted(f"{each.name}=={each.version}" for each in metadata.distributions() if each.name != "setuptools")
    key = hashlib.sha256("\n".join([sys.version, *wanted, *versions]).encode()).hexdigest()[:16]
    folder = ROOT / ".build" / f"wheels-{key}"
    if not folder.is_dir():
        _download(folder, wanted, [each for each in versions if not each.startswith("quantum-trader==")])
    return folder


def _download(folder: Path, wanted: list[str], versions: list[str]) -> None:
    unfinished = folder.with_name(f"{folder.name}.{os.getpid()}")
    unfinished.mkdir(parents=True)
    constraints = unfinished / "constraints.txt"
    constraints.write_text("\n".join(versions))
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "--only-binary=:all:", "--dest", str(unfinished), "--constraint", str(constraints), *wanted],
        capture_output=True,
        text=True,
        timeout=DOWNLOAD_S,
    )
    if done.returncode:
        pytest.skip(f"the wheels of a release cannot be had here: {done.stderr.strip()[-300:]}")
    try:
        unfinished.rename(folder)
    except OSError:  # another worker was faster
        if not folder.is_dir():
            raise
