import time

import pytest
from prometheus_client import Gauge
from prometheus_client.parser import text_string_to_metric_families

from router.decision import RouteDecision
from router.mixture import Member, Mixture
from server.metrics import (
    ADAPTERS_OF_REQUESTS,
    MAX_ADAPTER_LABELS,
    Metrics,
    effective_number,
)
from server.traces.applied import Applied


def applied(name: str, weight: float = 1.0, fallback: str | None = None) -> Applied:
    made = Mixture.of([Member(name, name, weight)], policy="auto", policy_version="v")
    return Applied(made, RouteDecision(made, {}, "auto", "v", 20.0, 5.0, fallback, ""))


def value(metrics: Metrics, series: str) -> float:
    for line in metrics.exposition().decode().splitlines():
        if line.startswith(series + " "):
            return float(line.rpartition(" ")[2])
    return 0.0


def test_weights_and_fallbacks_add_up():
    metrics = Metrics()
    metrics.count([applied("a", 0.25), applied("a", 0.5, "uniform")])
    assert value(metrics, 'loralloy_adapter_weight_total{adapter="a"}') == 0.75
    assert value(metrics, 'loralloy_prompts_total{policy="auto"}') == 2
    assert value(metrics, 'loralloy_fallbacks_total{policy="auto"}') == 1
    assert value(metrics, 'loralloy_routing_seconds_sum{policy="auto"}') == 0.05


def test_labels_are_bounded():
    metrics = Metrics()
    metrics.count(applied(f"a{number}") for number in range(MAX_ADAPTER_LABELS + 10))
    assert value(metrics, 'loralloy_adapter_weight_total{adapter="other"}') == 10
    metrics.forget("a0")
    assert value(metrics, 'loralloy_adapter_weight_total{adapter="a0"}') == 0
    metrics.count([applied("late")])
    assert value(metrics, 'loralloy_adapter_weight_total{adapter="late"}') == 1


def test_watched_values_are_read_when_asked():
    metrics, now = Metrics(), [3]
    metrics.gauge("leases", "Leases.", lambda: now[0])
    assert value(metrics, "loralloy_leases") == 3
    now[0] = 5
    assert value(metrics, "loralloy_leases") == 5


def test_watched_totals_are_counters():
    metrics, now = Metrics(), [3]
    metrics.gauge_total("weighings", "Weighings.", lambda: now[0])
    now[0] = 7
    assert value(metrics, "loralloy_weighings_total") == 7
    assert "# TYPE loralloy_weighings_total counter" in metrics.exposition().decode()


def test_two_servers_in_one_process_do_not_clash():
    first, second = Metrics(), Metrics()
    first.count([applied("a")])
    assert value(second, 'loralloy_adapter_weight_total{adapter="a"}') == 0


def test_tokens_are_shared_out_by_weight():
    metrics = Metrics()
    metrics.count_tokens({"a": 0.6, "b": 0.2}, 0.2, 10)
    metrics.count_tokens({"a": 0.3, "b": 0.3}, 0.0, 4)  # weights need not sum to one; tokens do
    metrics.count_tokens({}, 1.0, 5)
    metrics.count_tokens({}, 0.0, 1)
    metrics.count_tokens({"a": 1.0}, 0.0, 0)
    told = {
        name: value(metrics, f'loralloy_adapter_tokens_total{{adapter="{name}"}}')
        for name in ("a", "b", "")
    }
    assert told == pytest.approx({"a": 8.0, "b": 4.0, "": 8.0})
    metrics.forget("a")
    assert value(metrics, 'loralloy_adapter_tokens_total{adapter="a"}') == 0
    metrics.forget("a")


@pytest.mark.parametrize(
    ("weights", "number"),
    [([1.0], 1.0), ([0.3], 1.0), ([0.3] * 4, 4.0), ([0.5, 0.5, 0.0], 2.0), ([0.9, 0.1], 1.3841)],
)
def test_a_mixture_amounts_to_so_many_adapters(weights: list[float], number: float):
    assert effective_number(weights) == pytest.approx(number, abs=1e-4)


def adapters_of_requests(metrics: Metrics) -> tuple[str, str, str]:
    """Labels of the one sample that gateways read: slots, running, waiting."""
    told = metrics.exposition().decode()
    (family,) = [f for f in text_string_to_metric_families(told) if f.name == ADAPTERS_OF_REQUESTS]
    (sample,) = family.samples
    assert time.time() - 60 < sample.value <= time.time()
    names = ("max_lora", "running_lora_adapters", "waiting_lora_adapters")
    return tuple(sample.labels[name] for name in names)


def test_gateways_read_the_adapters_of_running_and_of_waiting_requests():
    metrics = Metrics(8)
    assert adapters_of_requests(metrics) == ("8", "", "")
    with metrics.adapters.running(["maths", "code@1a2b3c4d5e6f"]):
        with metrics.adapters.running(["maths"]), metrics.adapters.waiting(["science", "maths"]):
            assert adapters_of_requests(metrics) == ("8", "code,maths", "maths,science")
        assert adapters_of_requests(metrics) == ("8", "code,maths", "")
    assert adapters_of_requests(metrics) == ("8", "", "")


def test_a_metric_of_another_library_can_be_left_out():
    name = "test:left_out"
    Gauge(name, "of vLLM").set(1)
    assert name.encode() in Metrics().exposition()
    Metrics.leave_out(name)
    Metrics.leave_out(name)
    assert name.encode() not in Metrics().exposition()
