"""A real Prometheus that runs the repository's own configuration and rules, its minutes made seconds."""

import json
import re
import signal
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Self

import yaml

from tests.support.daemon import ROOT
from tests.support.ports import free_port
from tests.support.waiting import wait_until

PROMETHEUS = ROOT / "deployment" / "prometheus"
EVERY = "500ms"
LONGEST_FOR_MS = 2_000
_DURATION = re.compile(r"\b(\d+)(s|m|h)\b")
_IN_EXPRESSION = re.compile(r"\[\w+\]|\boffset \w+")
_SHORTENED_MS = {"s": 17, "m": 1_000, "h": 300_000}
"""What is left of each: an hour is long enough for four restarts of a daemon on a machine that is busy."""

Alert = dict[str, Any]


def quicker(rules: dict[str, Any]) -> dict[str, Any]:
    """Give the same rules with shorter durations, and none that waits longer than 2 s before it fires."""
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule["expr"] = _IN_EXPRESSION.sub(lambda match: _shortened(match[0]), rule["expr"])
            if "for" in rule:
                rule["for"] = _shortened(rule["for"], LONGEST_FOR_MS)
    return rules


def _shortened(text: str, longest_ms: int = 1 << 31) -> str:
    return _DURATION.sub(lambda match: f"{min(int(match[1]) * _SHORTENED_MS[match[2]], longest_ms)}ms", text)


class Program:
    """A process of Debian's, with its output in a file, ended by its id."""

    def __init__(self, folder: Path, *command: str) -> None:
        self._log = folder / f"{command[0]}.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder)

    def log(self) -> str:
        """Give what it has said."""
        return self._log.read_text()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)


class Prometheus(Program):
    """Run the committed configuration, scraping where a test says that its targets are.

    Args:
        folder: for configuration and data.
        targets: port that the configuration names, to port that the test serves it on.
        more: further targets: unit to port.
    """

    def __init__(self, folder: Path, targets: dict[int, int], more: dict[str, int]) -> None:
        self.port = free_port()
        targets = {9090: self.port} | targets
        text = re.sub(
            r"127\.0\.0\.1:(\d+)",
            lambda match: f"127.0.0.1:{targets[int(match[1])]}",
            (PROMETHEUS / "prometheus.yml").read_text(),
        )
        configuration = yaml.safe_load(text)
        configuration["global"] = {"scrape_interval": EVERY, "scrape_timeout": EVERY, "evaluation_interval": EVERY}
        [quantum] = [job for job in configuration["scrape_configs"] if job["job_name"] == "quantum"]
        for unit, port in more.items():
            quantum["static_configs"].append({"targets": [f"127.0.0.1:{port}"], "labels": {"unit": unit}})
        self.targets = sum(len(job["static_configs"]) for job in configuration["scrape_configs"])
        rules = quicker(yaml.safe_load((PROMETHEUS / "quantum_rules.yml").read_text()))
        self.names = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
        (folder / "quantum_rules.yml").write_text(yaml.safe_dump(rules))
        (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
        super().__init__(
            folder,
            "prometheus",
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=warn",
        )

    def __enter__(self) -> Self:
        wait_until(self._is_ready, 60, what="Prometheus", every_s=0.1)
        return self

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Ask for the newest values."""
        found: list[dict[str, Any]] = self._ask("query", query=expression)["result"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """Give every rule with its health and its last evaluation."""
        return [rule for group in self._ask("rules")["groups"] for rule in group["rules"]]

    def alerts(self) -> list[Alert]:
        """Give the alerts that are pending or firing."""
        found: list[Alert] = self._ask("alerts")["alerts"]
        return found

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _ask(self, what: str, **parameters: str) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)["data"]
