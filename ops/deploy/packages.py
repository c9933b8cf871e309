"""A release's own virtual environment: made by the system Python, or taken over from a release of the same needs."""

import hashlib
import os
import platform
import shutil
import stat
from pathlib import Path
from typing import Final

from ops.deploy.machine import Fault, Places, last_line, must, run

PIP_S: Final = 900.0
NEEDS: Final = ("pyproject.toml", "setup.py", "ai_engine/_measures.c", "ai_engine/_theil_sen.c")
"""What decides which packages and programs an environment holds, and what is compiled in it."""


def needs_of(places: Places, root: Path) -> str:
    """Give a digest that two releases share only where one's environment would serve the other."""
    version = run(places.python, "-I", "-c", "import sys; print(sys.version, sys.prefix)").stdout
    whole = hashlib.sha256(f"{version} {platform.machine()}".encode())
    for name in NEEDS:
        whole.update((root / name).read_bytes())
    return whole.hexdigest()


def install(places: Places, root: Path, wheels: Path | None) -> None:
    """Make the environment of the release at `root`, with the packages that it needs.

    Args:
        places: whose Python.
        root: the release, its files in place.
        wheels: a folder of wheels to install from; None for the package index.

    Raises:
        Fault: venv or pip failed; pip's own complaint is in the text.
    """
    venv = root / ".venv"
    must(places.python, "-m", "venv", venv, what="python3 -m venv (Debian: python3-venv)")
    offline = ("--no-index", "--find-links", str(wheels)) if wheels else ()
    pip = (venv / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *offline)
    done = run(*pip, "--editable", f"{root}[paper]", timeout_s=PIP_S)
    if done.returncode:
        complaints = [line for line in done.stderr.splitlines() if "ERROR" in line]
        raise Fault(f"pip could not install the release: {last_line(complaints[-1] if complaints else done.stderr)}")


def take_over(old: Path, root: Path) -> None:
    """Copy another release's environment, and let all that names the old release's folder name this one's.

    Proven packages stay the same ones, and an upgrade needs no network.

    Raises:
        OSError: a file cannot be copied.
    """
    shutil.copytree(old / ".venv", root / ".venv", symlinks=True)
    for compiled in (old / "ai_engine").glob("*.so"):
        shutil.copy2(compiled, root / "ai_engine" / compiled.name)
    before, after = os.fsencode(old), os.fsencode(root)
    for path in _naming_their_place(root / ".venv"):
        content = path.read_bytes()
        if before in content:
            path.write_bytes(content.replace(before, after))
    for cached in (root / ".venv").glob("lib/python3*/site-packages/__pycache__/__editable__*"):
        cached.unlink()


def compile_all(root: Path) -> None:
    """Compile the release's own code: its processes may not write there themselves.

    Raises:
        Fault: it does not compile; the place is in the text.
    """
    parts = (root / "ai_engine", root / "microservices", root / "ops")
    done = run(root / ".venv" / "bin" / "python", "-m", "compileall", "-q", *parts)
    if done.returncode:
        raise Fault(f"the release does not compile: {last_line(done.stdout + done.stderr)}")


def _naming_their_place(venv: Path) -> list[Path]:
    """List the files in which an environment says where it lies."""
    packages = next(venv.glob("lib/python3*/site-packages"))
    found = [venv / "pyvenv.cfg", *(venv / "bin").iterdir(), *packages.glob("__editable__*")]
    found += [path for folder in packages.glob("quantum_trader-*.dist-info") for path in folder.iterdir()]
    return [path for path in found if stat.S_ISREG(path.lstat().st_mode)]
