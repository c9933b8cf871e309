"""Panels of Grafana's dashboards, and where they stand."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

DATASOURCE = {"type": "prometheus", "uid": "quantum-prometheus"}
"""As deployment/grafana/provisioning/datasources names it."""

COLUMNS = 24
SCHEMA_VERSION = 37
"""Of Grafana 9; newer ones read it and raise it by themselves."""


class Panel(NamedTuple):
    """One picture.

    Args:
        title: what is seen.
        queries: PromQL expression and what a line of it is called.
        unit: Grafana's name of it: `short`, `s`, `percentunit`, `bytes`.
        note: shown behind the title.
        kind: `timeseries`, or `stat` for the newest value in large.
        width: in columns of 24.
        height: in rows of 30 pixels.
    """

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    note: str = ""
    kind: str = "timeseries"
    width: int = 8
    height: int = 7


def dashboard(uid: str, title: str, panels: Iterable[Panel], links: Iterable[dict[str, Any]] = ()) -> dict[str, Any]:
    """Make a dashboard: panels from left to right, a new line where one does not fit any more."""
    return {
        "uid": uid,
        "title": title,
        "tags": ["quantum"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "timezone": "utc",
        "refresh": "15s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": []},
        "annotations": {"list": []},
        "links": list(links),
        "panels": list(_placed(panels)),
    }


def link(uid: str, title: str) -> dict[str, Any]:
    """Lead from one dashboard to another."""
    return {"type": "link", "title": title, "url": f"/d/{uid}", "keepTime": True, "icon": "dashboard"}


def _placed(panels: Iterable[Panel]) -> Iterator[dict[str, Any]]:
    x = y = line_height = 0
    for number, panel in zip(itertools.count(1), panels, strict=False):
        if x + panel.width > COLUMNS:
            x, y, line_height = 0, y + line_height, 0
        yield _drawn(number, panel, {"x": x, "y": y, "w": panel.width, "h": panel.height})
        x, line_height = x + panel.width, max(line_height, panel.height)


def _drawn(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + at), "expr": expression, "legendFormat": legend, "datasource": DATASOURCE}
        for at, (expression, legend) in enumerate(panel.queries)
    ]
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.note,
        "gridPos": place,
        "datasource": DATASOURCE,
        "targets": targets,
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "options": {"reduceOptions": {"calcs": ["lastNotNull"]}} if panel.kind == "stat" else {},
    }
