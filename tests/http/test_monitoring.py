"""Dashboard and alerts ask for metrics that the real server has; the health check asks it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.support.promql import queries, selected

ROOT = Path(__file__).resolve().parents[2]
SUFFIXES = {
    "counter": ("_total",),
    "histogram": ("_bucket", "_sum", "_count"),
    "summary": ("", "_sum", "_count"),
}
OF_PROMETHEUS = {"up": {"job", "instance"}}


@pytest.fixture(scope="module")
def offered(server):
    """Names of the samples → their labels, or None; after a routed request."""
    with server.client() as client:
        asked = {"model": "auto", "prompt": "one two three", "max_tokens": 2}
        assert client.post("/v1/completions", json=asked).status_code == 200
        told = client.get("/metrics").text
    names = dict(OF_PROMETHEUS)
    for family in text_string_to_metric_families(told):
        for suffix in SUFFIXES.get(family.type, ("",)):
            labels = {label for sample in family.samples for label in sample.labels}
            # A count by policy or adapter shows no labels before its first sample.
            names[family.name + suffix] = labels | {"job", "instance"} if family.samples else None
    return names


@pytest.mark.parametrize(("where", "query"), queries(ROOT))
def test_every_metric_that_is_asked_for_is_offered(offered, where, query):
    for name, labels in selected(query):
        assert name in offered, f"{where}: {name}"
        seen = offered[name]
        assert seen is None or labels <= seen, f"{where}: {name} has no label {labels - seen}"


def test_the_health_check_passes_on_a_ready_server(server):
    checked = subprocess.run(
        [sys.executable, "-I", str(ROOT / "docker/healthcheck.py")],
        env={"LORALLOY_PORT": server.url.rpartition(":")[2]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0
    assert json.loads(checked.stdout)["status"] == "ready"


def test_prometheus_is_told_a_server_of_compose_and_its_key():
    told = yaml.safe_load((ROOT / "docker/prometheus/prometheus.yml").read_text())
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    (job,) = told["scrape_configs"]
    host, port = job["static_configs"][0]["targets"][0].split(":")
    assert services[host]["ports"][0].endswith(f":{port}")
    secret = Path(job["authorization"]["credentials_file"]).name
    assert secret in services["prometheus"]["secrets"]
    assert services[host]["environment"]["LORALLOY_API_KEY_FILE"].endswith(f"/{secret}")
