"""The queries of the dashboard and of the alerts, and the metrics that they ask for."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import yaml

GRAFANAS = {"$__rate_interval": "5m", "$instance": ".*"}


def queries(root: Path) -> list[tuple[str, str]]:
    """Where a query stands → the query, Grafana's variables filled in."""
    board = json.loads((root / "docker/grafana/dashboards/loralloy.json").read_text())
    rules = yaml.safe_load((root / "docker/prometheus/alerts.yml").read_text())
    found = [
        (f"panel {panel['title']} {target['refId']}", target["expr"])
        for panel in board["panels"]
        for target in panel.get("targets", [])
    ]
    found += [
        (f"alert {rule['alert']}", rule["expr"])
        for group in rules["groups"]
        for rule in group["rules"]
    ]
    return [(where, _filled(query)) for where, query in found]


def selected(query: str) -> Iterator[tuple[str, set[str]]]:
    """Each metric of a query with the labels that are matched, or that it is summed by."""
    return _walk(promql_parser.parse(query), frozenset())


def _filled(query: str) -> str:
    for name, value in GRAFANAS.items():
        query = query.replace(name, value)
    return query


def _walk(node: Any, labels: frozenset[str]) -> Iterator[tuple[str, set[str]]]:
    if isinstance(node, promql_parser.VectorSelector):
        yield node.name, labels | {matcher.name for matcher in node.matchers.matchers}
        return
    if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
        labels = frozenset(node.modifier.labels)
    inner = [getattr(node, name, None) for name in ("expr", "lhs", "rhs", "vector_selector")]
    for one in [*inner, *getattr(node, "args", [])]:
        if one is not None:
            yield from _walk(one, labels)
