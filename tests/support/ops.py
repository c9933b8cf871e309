"""Run the operator's scripts as an operator does: bash, a bare environment, and a PATH that a test can shape."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.daemon import ROOT
from tests.support.ops_documents import checked

TOOLS = (
    "bash",
    "redis-cli",
    "python3",
    "sed",
    "tr",
    "timeout",
    "dirname",
    "basename",
    "mktemp",
    "rm",
    "tar",
    "gzip",
    "cat",
)


def ops(
    script: str, *arguments: str, port: int, path: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `ops/<script>` against the Redis on a port of loopback."""
    return subprocess.run(
        ["bash", str(ROOT / "ops" / script), *arguments],
        env={"PATH": path or os.environ["PATH"], "REDIS_PORT": str(port)} | environment,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=30,
    )


def ops_json(script: str, *arguments: str, port: int, path: str | None = None, **environment: str) -> dict[str, Any]:
    """Run it with --json; check its document against its schema, and that it says what its exit code says."""
    done = ops(script, *arguments, "--json", port=port, path=path, **environment)
    checked(script, done.stdout)
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["exit"] == done.returncode, done.stdout
    return document


def path_of_tools(directory: Path, tools: Iterable[str] = TOOLS) -> Path:
    """Make a folder that holds only these tools, as the whole PATH of a bare machine."""
    directory.mkdir(exist_ok=True)
    for tool in tools:
        found = shutil.which(tool, path="/usr/bin:/bin") or shutil.which(tool)
        assert found is not None, tool
        (directory / tool).symlink_to(found)
    return directory


def put_tool(directory: Path, name: str, script: str) -> None:
    """Put a tool of the test's own into a folder of tools."""
    tool = directory / name
    tool.unlink(missing_ok=True)
    tool.write_text(f"#!/bin/bash\n{script}\n")
    tool.chmod(0o755)


class Proof(NamedTuple):
    """What a proof said: its exit code, its words, and the same as a document of its schema."""

    code: int
    words: str
    document: Any


def told(script: str, *arguments: str, port: int, path: str | None = None, **environment: str) -> Any:
    """Run a proof for a program; check its document against its schema and its exit code, and give it."""
    done = ops(script, *arguments, "--json", port=port, path=path, **environment)
    assert (done.stdout.count("\n"), done.stderr) == (1, ""), done.stdout + done.stderr
    document = checked(script, done.stdout)
    assert document.exit == done.returncode
    assert bool(document.problems) is bool(document.exit), document
    assert all(problem.isprintable() for problem in document.problems)
    return document


def proven(script: str, *arguments: str, port: int, path: str | None = None, **environment: str) -> Proof:
    """Run a proof for a person and for a program; check that both say the same, and the document against its schema."""
    read = ops(script, *arguments, port=port, path=path, **environment)
    document = told(script, *arguments, port=port, path=path, **environment)
    assert (read.returncode, read.stderr) == (document.exit, ""), read.stdout
    return Proof(read.returncode, read.stdout, document)
