"""A merge as a file, and as a policy that needs none: equal where the rule is linear."""

from pathlib import Path

import httpx
import pytest

from adapters.merging.merge import Rule, merge
from tests.support import running_server
from tests.support.generation import Ask, Generated, generate
from tests.support.running_server import RunningServer

TOLERANCE = 1e-4
PROMPT = tuple(range(40, 73))
WEIGHTS = {"r8-a": 0.4, "r8-b": 0.4, "r8-d": 0.3}


def assert_equal(one: Generated, other: Generated) -> None:
    assert one.tokens == other.tokens
    for first, second in zip(one.top, other.top, strict=True):
        common = first.keys() & second.keys()
        assert len(common) >= 18, "the twenty likeliest are the same, but for ties at the end"
        assert max(abs(first[token] - second[token]) for token in common) <= TOLERANCE


@pytest.mark.parametrize("combination", ["cat", "linear"])
def test_a_merged_file_answers_as_its_policy_does(
    server: RunningServer, tmp_path: Path, combination: str
) -> None:
    name = f"merged-{combination}"
    folders = {server.adapters[adapter]: weight for adapter, weight in WEIGHTS.items()}
    merge(folders, Rule(combination), tmp_path / name)
    policy = {"kind": "fixed", "weights": WEIGHTS, "combination": combination}
    with httpx.Client(base_url=server.url, timeout=60) as http:
        pushed = running_server.push(server, name, tmp_path / name)
        assert pushed.status_code == 201, pushed.text
        try:
            put = http.put(f"/v1/policies/fixed-{combination}", json=policy)
            assert put.is_success, put.text
            asked = ({"model": name}, {"policy": f"fixed-{combination}"}, {})
            file, served, base = generate(server, [Ask(PROMPT, body) for body in asked])
        finally:
            http.delete(f"/v1/adapters/{name}")
            http.delete(f"/v1/policies/fixed-{combination}")
    assert_equal(file, served)
    assert file.top != base.top


@pytest.mark.parametrize("rule", [Rule("ties", density=0.7), Rule("svd", rank=8)], ids=str)
def test_other_merges_are_served_too(server: RunningServer, tmp_path: Path, rule: Rule) -> None:
    folders = {server.adapters[adapter]: weight for adapter, weight in WEIGHTS.items()}
    merge(folders, rule, tmp_path / "merged")
    pushed = running_server.push(server, "merged-otherwise", tmp_path / "merged")
    assert pushed.status_code == 201, pushed.text
    try:
        merged, base = generate(
            server, [Ask(PROMPT, {"model": "merged-otherwise"}), Ask(PROMPT, {})]
        )
    finally:
        httpx.delete(f"{server.url}/v1/adapters/merged-otherwise", timeout=60)
    assert merged.top != base.top
