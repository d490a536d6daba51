"""What the real server counts of adapters, mixtures and slots."""

import math

import pytest
from prometheus_client.parser import text_string_to_metric_families


def samples(http) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample of /metrics by name and labels."""
    families = text_string_to_metric_families(http.get("/metrics").text)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def grown(before: dict, after: dict, name: str, **labels: str) -> float:
    key = (name, tuple(sorted(labels.items())))
    return after[key] - before.get(key, 0.0)


def ask(http, **body) -> dict:
    asked = {"prompt": "one two three", "max_tokens": 8, "ignore_eos": True, **body}
    answer = http.post("/v1/completions", json=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("n", [1, 2])
def test_tokens_are_shared_out_by_weight(http, n):
    before = samples(http)
    ask(http, mixture={"adapters": {"r8-a": 0.75, "r8-b": 0.25}}, n=n, seed=3, temperature=1)
    after = samples(http)
    of = "loralloy_adapter_tokens_total"
    assert grown(before, after, of, adapter="r8-a") == pytest.approx(6 * n)
    assert grown(before, after, of, adapter="r8-b") == pytest.approx(2 * n)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    number = grown(before, after, "loralloy_effective_adapters_sum")
    assert number == pytest.approx(math.exp(entropy), abs=1e-6)


def test_base_tokens_have_no_adapters_name(http, server):
    before = samples(http)
    ask(http, model=server.base)
    assert grown(before, samples(http), "loralloy_adapter_tokens_total", adapter="") == 8


def test_tokens_of_weights_that_follow_the_answer_add_up(http):
    def total(told: dict) -> float:
        return sum(v for (name, _), v in told.items() if name == "loralloy_adapter_tokens_total")

    before = samples(http)
    ask(http, model="auto", routing={"scope": "token", "stride": 2})
    assert total(samples(http)) - total(before) == pytest.approx(8)


def test_leases_that_need_no_load_are_hits(http):
    ask(http, model="r8-a")
    before = samples(http)
    ask(http, model="r8-a")
    after = samples(http)
    assert grown(before, after, "loralloy_residency_hits_total") == 1
    assert grown(before, after, "loralloy_residency_misses_total") == 0


def adapters_of_requests(http) -> tuple[list[str], list[str]]:
    """The adapters of running and of waiting requests, as gateways read them."""
    families = text_string_to_metric_families(http.get("/metrics").text)
    (found,) = [family for family in families if family.name == "vllm:lora_requests_info"]
    (sample,) = found.samples
    assert sample.labels["max_lora"] == "10"
    both = (sample.labels[f"{state}_lora_adapters"] for state in ("running", "waiting"))
    running, waiting = ([name for name in names.split(",") if name] for names in both)
    return running, waiting


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({"model": "r8-a"}, {"r8-a"}),
        ({"mixture": {"adapters": {"r8-b": 0.5, "r16": 0.5}}}, {"r8-b", "r16"}),
        ({"policy": "nearest", "prompt": "a recipe for the kitchen"}, {"r16"}),
        ({"model": "tiny-llama"}, set()),
    ],
)
def test_gateways_see_the_adapters_of_a_running_request(http, server, asked, names):
    body = {"prompt": "one two", "max_tokens": 400, "ignore_eos": True, "stream": True, **asked}
    with server.client() as other, other.stream("POST", "/v1/completions", json=body) as answer:
        lines = answer.iter_lines()
        assert any(line.startswith("data: ") for line in lines)
        running, waiting = adapters_of_requests(http)
        assert (set(running), waiting) == (names, [])
