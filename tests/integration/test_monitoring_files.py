"""What Prometheus, Alertmanager and Grafana are given: sound, complete, and speaking of metrics that there are."""

import ast
import itertools
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from ops.generate_docs import SERVICES
from ops.generators.dashboards import OVERVIEW, dashboards
from ops.generators.panels import COLUMNS
from ops.generators.registry import MEASURED, RUNTIME, all_series, measured
from tests.support.daemon import ROOT
from tests.support.promql import names_in, needs_prometheus, promtool

PROMETHEUS = ROOT / "deployment" / "prometheus"
GRAFANA = ROOT / "deployment" / "grafana"
RULES = [
    rule
    for group in yaml.safe_load((PROMETHEUS / "quantum_rules.yml").read_text())["groups"]
    for rule in group["rules"]
]
BOARDS: dict[str, dict[str, Any]] = {name: json.loads(text) for name, text in dashboards().items()}
OF_THE_CLIENT = {"process_start_time_seconds", "process_resident_memory_bytes", "process_cpu_seconds_total"}
OF_REDIS = {"redis_up", "redis_memory_used_bytes", "redis_memory_max_bytes"}
"""Asked of the exporter's own answer by the test that lets every alert fire."""
OF_PROMETHEUS = {"up", "ALERTS"}
KNOWN = OF_THE_CLIENT | OF_REDIS | OF_PROMETHEUS
NAMED_BY_THE_INTERFACE = "p33_allowlist_count"
"""Its ending is one that Prometheus keeps for histograms; the name is a promise to others and stays."""
UNITS_OF_GRAFANA = {"short", "s", "bytes", "percentunit"}


def expressions(board: dict[str, Any]) -> list[str]:
    """Give every query of a dashboard."""
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]]


def cells(panel: dict[str, Any]) -> set[tuple[int, int]]:
    """Give the squares of the grid that a panel covers."""
    at = panel["gridPos"]
    return set(itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])))


@needs_prometheus
def test_the_configuration_is_one() -> None:
    """Scrape configuration and rules, as promtool reads them."""
    done = promtool("check", "config", str(PROMETHEUS / "prometheus.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


@needs_prometheus
def test_the_example_of_alertmanager_is_one() -> None:
    """As its own tool reads it."""
    path = PROMETHEUS / "alertmanager.yml"
    done = subprocess.run(["amtool", "check-config", str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_prometheus
def test_every_alert_is_silent_while_all_is_well_and_fires_when_it_is_not() -> None:
    """The rules' own tests, with the words and figures that an operator gets."""
    done = promtool("test", "rules", str(PROMETHEUS / "quantum_test.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_is_complete(rule: dict[str, Any]) -> None:
    """Its severity, its words with a figure, its page, and a unit test in which it fires and one in which not."""
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert rule["annotations"]["summary"]
    assert "{{ $value" in rule["annotations"]["description"] or "value }}" in rule["annotations"]["description"]
    page = rule["annotations"]["runbook_url"].rpartition("/docs/runbooks/")
    assert page[1], "its runbook_url ends in docs/runbooks/NAME.md"
    assert (ROOT / "docs" / "runbooks" / page[2]).is_file()
    tests = yaml.safe_load((PROMETHEUS / "quantum_test.yml").read_text())["tests"]
    expected = [
        bool(tried["exp_alerts"])
        for test in tests
        for tried in test["alert_rule_test"]
        if tried["alertname"] == rule["alert"]
    ]
    assert {*expected} == {True, False}
    assert names_in(rule["expr"]) - all_series() - KNOWN == set()


def test_no_alert_has_the_name_of_another() -> None:
    """A silence for one would silence both."""
    names = [rule["alert"] for rule in RULES]
    assert sorted(set(names)) == sorted(names)


def test_every_service_is_scraped_on_its_port_under_its_unit() -> None:
    """What the alerts go by; the ports are the defaults of the settings, or those that deploy sets."""
    jobs = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
    [quantum] = [job for job in jobs if job["job_name"] == "quantum"]
    found = {target["labels"]["unit"]: target["targets"] for target in quantum["static_configs"]}
    assert found == {unit: [f"127.0.0.1:{port}"] for unit, port in MEASURED.values()}


@pytest.mark.parametrize("package", MEASURED)
def test_unit_and_port_are_those_of_the_service(package: str) -> None:
    """The port is the settings' default, or one that is off until it is asked for; every unit but paper's is there."""
    unit, port = MEASURED[package]
    settings = import_module(f"microservices.{package}.settings").Settings
    [default] = [field.default for field in msgspec.structs.fields(settings) if field.name.endswith("_metrics_port")]
    assert default in {0, port}
    assert SERVICES[package] == unit
    assert {*SERVICES} - {*MEASURED} == {"paper_exchange"}


@pytest.mark.parametrize("unit", [unit for unit, _ in MEASURED.values()])
def test_the_sandbox_leaves_the_time_of_the_start_to_be_seen(unit: str) -> None:
    """With `ProcSubset=pid` the client library serves no process_start_time_seconds, and no restart is ever noticed."""
    assert "ProcSubset=" not in (ROOT / "deployment" / "systemd" / f"{unit}.service").read_text()


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_a_dashboard_is_one_that_grafana_takes(name: str) -> None:
    """Names and numbers that are its own, panels that do not overlap, and queries to the source that is provisioned."""
    board = BOARDS[name]
    assert f"{board['uid']}.json" == name
    assert len(board["uid"]) <= 40
    assert board["title"]
    assert board["schemaVersion"] >= 36
    ids = [panel["id"] for panel in board["panels"]]
    assert len({*ids}) == len(ids) > 5
    covered = [cells(panel) for panel in board["panels"]]
    assert len(set().union(*covered)) == sum(len(each) for each in covered), "panels overlap"
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= COLUMNS for panel in board["panels"])
    [source] = yaml.safe_load((GRAFANA / "provisioning/datasources/quantum.yml").read_text())["datasources"]
    for panel in board["panels"]:
        assert panel["type"] in {"timeseries", "stat"}
        assert panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS_OF_GRAFANA
        letters = [target["refId"] for target in panel["targets"]]
        assert len({*letters}) == len(letters) > 0
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": source["uid"]}


def test_no_dashboard_has_the_name_of_another() -> None:
    """Grafana keeps one of each; the links between them lead to one that is there."""
    assert len({board["title"] for board in BOARDS.values()}) == len(BOARDS)
    for board in BOARDS.values():
        assert {f"{link['url'].removeprefix('/d/')}.json" for link in board["links"]} <= {*BOARDS}


def test_the_committed_dashboards_are_those_that_the_code_draws() -> None:
    """No more and no fewer; their content is compared with that of all generated files."""
    assert {path.name for path in (GRAFANA / "dashboards").iterdir()} == {*BOARDS}


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_every_query_asks_for_metrics_that_there_are(name: str) -> None:
    """Those of our registries, of the client library, of Prometheus and of Redis's exporter."""
    asked = set().union(*map(names_in, expressions(BOARDS[name])))
    assert asked - all_series() - KNOWN == set()


@pytest.mark.parametrize(("package", "unit"), [(package, unit) for package, (unit, _) in MEASURED.items()])
def test_all_that_a_service_measures_is_drawn(package: str, unit: str) -> None:
    """Its own and what every service measures of itself, on its own dashboard."""
    drawn = set().union(*map(names_in, expressions(BOARDS[f"{unit}.json"])))
    for metric in (*measured(package), *measured(RUNTIME)):
        assert drawn & {*metric.series}, metric.name


def test_the_overview_shows_every_service() -> None:
    """At least one metric of each."""
    drawn = set().union(*map(names_in, expressions(BOARDS[f"{OVERVIEW}.json"])))
    assert all(drawn & {name for metric in measured(package) for name in metric.series} for package in MEASURED)


@needs_prometheus
def test_every_query_is_promql(tmp_path: Path) -> None:
    """As rules that record them, which promtool parses."""
    queries = sorted({query for board in BOARDS.values() for query in expressions(board)})
    rules = [{"record": f"tried:query:{number}", "expr": query} for number, query in enumerate(queries)]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "tried", "rules": rules}]}))
    done = promtool("check", "rules", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(queries)} rules found" in done.stdout


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("up == 0 or redis_up == 0", {"up", "redis_up"}),
        ('sum by (le, unit) (rate(a_bucket{unit="x(y)"}[5m] offset 1h)) * 60', {"a_bucket"}),
        ("time() - b_seconds > 1e3 unless on (unit) topk(3, c)", {"b_seconds", "c"}),
    ],
)
def test_the_reading_of_expressions_works(expression: str, names: set[str]) -> None:
    """Functions, labels, texts, durations and numbers are no metrics."""
    assert names_in(expression) == names


@needs_prometheus
@pytest.mark.parametrize("package", MEASURED)
def test_what_a_service_serves_is_what_its_module_says_in_prometheus_own_style(package: str) -> None:
    """A fresh process of each: no metric from elsewhere, and nothing that promtool finds fault with but one name."""
    code = (
        f"import sys, microservices.{package}.main; from prometheus_client import REGISTRY, generate_latest\n"
        "served = [metric.name for metric in REGISTRY.collect()]\n"
        "print(served, generate_latest().decode(), sep=chr(10), end='')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    names, _, text = done.stdout.partition("\n")
    ours = {name for name in ast.literal_eval(names) if not name.startswith(("python_", "process_"))}
    assert ours == {metric.name.removesuffix("_total") for part in (package, RUNTIME) for metric in measured(part)}
    linted = promtool("check", "metrics", given=text)
    findings = [line for line in linted.stderr.splitlines() if not line.startswith(f"{NAMED_BY_THE_INTERFACE} ")]
    assert findings == []
    assert linted.returncode == (3 if package == "position_state_brain" else 0)
