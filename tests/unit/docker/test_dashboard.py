"""Dashboard and alerts are what Grafana and Prometheus read."""

import json
from pathlib import Path

import pytest
import yaml

from tests.support.promql import queries, selected

ROOT = Path(__file__).resolve().parents[3]
BOARD = json.loads((ROOT / "docker/grafana/dashboards/loralloy.json").read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]


def provisioned(kind):
    return yaml.safe_load(next((ROOT / "docker/grafana/provisioning" / kind).iterdir()).read_text())


@pytest.mark.parametrize(("where", "query"), queries(ROOT))
def test_every_query_is_promql_and_asks_for_something(where, query):
    names = {name for name, _ in selected(query)}
    assert names
    assert all(
        name == "up" or name.startswith(("loralloy_", "vllm:", "process_")) for name in names
    )


def test_selected_finds_metrics_and_labels():
    query = 'sum by (le, policy) (rate(a_bucket{x="1"}[5m])) / scalar(max by (i) (b)) > 2'
    assert list(selected(query)) == [("a_bucket", {"le", "policy", "x"}), ("b", {"i"})]


def test_panels_read_the_provisioned_source_and_do_not_overlap():
    (source,) = provisioned("datasources")["datasources"]
    taken = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    assert {target["datasource"]["uid"] for panel in PANELS for target in panel["targets"]} == {
        source["uid"]
    }
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


def test_the_dashboards_folder_is_the_one_that_is_mounted():
    (provider,) = provisioned("dashboards")["providers"]
    mounted = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["grafana"]["volumes"]
    path = provider["options"]["path"]
    assert f"./docker/grafana/dashboards:{path}:ro" in mounted


def test_alerts_are_told_in_the_documentation():
    rules = yaml.safe_load((ROOT / "docker/prometheus/alerts.yml").read_text())
    told = (ROOT / "docs/deployment.md").read_text()
    for rule in rules["groups"][0]["rules"]:
        assert f"`{rule['alert']}`" in told
        assert rule["annotations"].keys() == {"summary", "description"}
        assert rule["labels"]["severity"] in {"warning", "critical"}
