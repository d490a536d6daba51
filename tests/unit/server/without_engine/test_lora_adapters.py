"""llama.cpp's numbers: stable, never reused, and telling nothing of what a key does not see."""

import pytest

from server.access.keys import AdapterRule
from server.catalogue.numbers import Numbers
from tests.support.access import made


def numbers(server, key: str | None = None) -> dict[int, str]:
    headers = {} if key is None else server.holding(key)
    listed = server.http.get("/lora-adapters", headers=headers)
    assert listed.status_code == 200
    for one in listed.json():
        assert set(one) == {"id", "path", "scale", "task_name", "prompt_prefix"}
        assert (one["scale"], one["task_name"], one["prompt_prefix"]) == (0.0, "", "")
    return {one["id"]: one["path"] for one in listed.json()}


def scales(server, key: str | None = None, **scaled: float) -> dict[str, float] | int:
    """What a body as llama.cpp has it is answered with: name → weight, or a status."""
    lora = [{"id": int(number[1:]), "scale": scale} for number, scale in scaled.items()]
    headers = {} if key is None else server.holding(key)
    answer = server.http.post(
        "/v1/completions", json={"prompt": "one two", "lora": lora}, headers=headers
    )
    if answer.status_code != 200:
        assert answer.json()["error"]["code"] == "model_not_found"
        return answer.status_code
    return {name: weight for name, _, weight in answer.json()["reached"]}


@pytest.fixture
def pushed(server, tiny_adapters):
    for name, folder in (("b", "r8-b"), ("a", "r8-a"), ("c", "r16")):
        server.push(name, tiny_adapters[folder])
    return server


def test_numbers_go_by_the_order_in_which_names_were_given(pushed):
    assert numbers(pushed) == {0: "b", 1: "a", 2: "c"}
    assert scales(pushed, n0=0.5, n2=1.25) == {"b": 0.5, "c": 1.25}
    assert scales(pushed, n1=1.0, n0=0.0) == {"a": 1.0}
    assert scales(pushed, n3=1.0) == 404


def test_a_number_stands_for_its_name_as_long_as_there_is_one(pushed, tiny_adapters):
    pushed.replace("a", tiny_adapters["r32"])
    assert numbers(pushed) == {0: "b", 1: "a", 2: "c"}
    pushed.http.delete("/v1/adapters/a")
    assert numbers(pushed) == {0: "b", 2: "c"}
    assert scales(pushed, n1=1.0) == 404
    pushed.push("a", tiny_adapters["r8-a"])
    pushed.push("d", tiny_adapters["r8-c"])
    assert numbers(pushed) == {0: "b", 2: "c", 3: "a", 4: "d"}
    assert scales(pushed, n1=1.0) == 404, "a number is never given again"


def test_numbers_are_the_same_after_a_restart(start, tmp_path, tiny_adapters):
    first = start(tmp_path / "same")
    for name, folder in (("b", "r8-b"), ("a", "r8-a"), ("c", "r16")):
        first.push(name, tiny_adapters[folder])
    first.http.delete("/v1/adapters/b")
    second = start(tmp_path / "same")
    assert numbers(second) == {1: "a", 2: "c"}
    second.push("b", tiny_adapters["r8-b"])
    assert numbers(second) == {1: "a", 2: "c", 3: "b"}


@pytest.fixture
def narrow(pushed) -> str:
    key = made(pushed.keys, "user", "a", "c*")[0]
    pushed.parts.access.key_refresh.look()
    return key


def test_a_key_has_numbers_of_its_own_for_what_it_sees(pushed, narrow):
    assert numbers(pushed, narrow) == {0: "a", 1: "c"}
    assert scales(pushed, narrow, n0=0.5, n1=1.0) == {"a": 0.5, "c": 1.0}
    assert scales(pushed, narrow, n2=1.0) == 404


def test_what_a_key_does_not_see_changes_nothing_that_it_sees(pushed, narrow, tiny_adapters):
    def told() -> tuple[str, ...]:
        """All that the key can find out: its list, and what any number is answered with."""
        headers = pushed.holding(narrow)
        listed = pushed.http.get("/lora-adapters", headers=headers)
        bodies = [{"prompt": "x", "lora": [{"id": n}]} for n in range(-1, 9)]
        answers = [pushed.http.post("/v1/completions", json=b, headers=headers) for b in bodies]
        return (listed.text, *(answer.text for answer in answers))

    before = told()
    for hidden in ("b2", "d", "e"):
        pushed.push(hidden, tiny_adapters["r8-c"])
        assert told() == before
    for hidden in ("b", "d"):
        pushed.http.delete(f"/v1/adapters/{hidden}")
        assert told() == before
    pushed.push("b", tiny_adapters["r8-b"])
    assert told() == before
    pushed.push("c2", tiny_adapters["r8-d"])
    assert numbers(pushed, narrow) == {0: "a", 1: "c", 2: "c2"}


def test_global_scales_are_refused_with_the_reason(pushed, narrow):
    for headers in ({}, pushed.holding(narrow)):
        for body in ([{"id": 0, "scale": 1.0}], [], {}):
            answer = pushed.http.post("/lora-adapters", json=body, headers=headers)
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (405, "method_not_allowed")
            assert answer.headers["allow"] == "GET"
            assert "everybody" in error["message"]
            assert "'lora'" in error["message"]
    assert scales(pushed, n1=1.0) == {"a": 1.0}


def test_numbers_of_a_moment():
    given = ("a", "x", "b", "a", "y", "c")
    assert Numbers(given, {"a", "b", "y"}).names == {2: "b", 3: "a", 4: "y"}
    assert Numbers(given, {"a", "b", "y"}).narrowed(AdapterRule(("a", "y"))).names == {
        1: "a",
        2: "y",
    }
    assert Numbers().names == {}
