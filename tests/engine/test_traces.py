"""What answers and traces say of weights that follow the answer, on the real engine."""

import json
import re
import time

import httpx
import pytest
from transformers import AutoTokenizer

from tests.engine.test_token_scope import WARM, prompt, weights
from tests.support.running_server import RunningServer

NEW = 10


def body(text: int, stride: int, **more: object) -> dict:
    return {
        "model": "auto",
        "prompt": list(prompt(text)),
        "max_tokens": NEW,
        "temperature": 0,
        "ignore_eos": True,
        "return_tokens_as_token_ids": True,
        "logprobs": 0,
        "routing": {**WARM, "scope": "token", "stride": stride},
        **more,
    }


def gauge(server: RunningServer, name: str) -> float:
    text = httpx.get(f"{server.url}/metrics", timeout=30).text
    found = re.search(rf"^loralloy_{name} (\S+)$", text, re.MULTILINE)
    assert found, f"there is no metric {name}"
    return float(found[1])


@pytest.mark.parametrize("stride", [1, 3])
def test_the_trace_is_the_routers_weights_at_the_multiples(
    server: RunningServer, stride: int
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(server.base_folder)
    with server.client() as client:
        answer = client.post("/v1/completions", json=body(21, stride))
        assert answer.status_code == 200, answer.text
        trace = client.get(f"/v1/traces/{answer.headers['x-request-id']}").json()
    names = answer.json()["choices"][0]["logprobs"]["tokens"]
    tokens = [int(name.removeprefix("token_id:")) for name in names]
    choice = trace["choices"][0]
    assert trace["finished"]
    assert (trace["scope"], trace["stride"], choice["tokens"]) == ("token", stride, NEW)
    assert [step["token"] for step in choice["steps"]] == list(range(0, NEW, stride))
    for step in choice["steps"]:
        text = tokenizer.decode(prompt(21)) + tokenizer.decode(tokens[: step["token"]])
        assert step["weights"] == pytest.approx(weights(server, text), abs=2e-4)
    told = answer.json()["mixture"]
    assert told["adapters"] == choice["steps"][0]["weights"]


def test_each_chunk_tells_the_mixture_of_its_tokens(server: RunningServer) -> None:
    asked = body(22, 2, stream=True, stream_options={"include_mixture": True})
    told: list[dict] = []
    with server.client() as client:
        with client.stream("POST", "/v1/completions", json=asked) as answer:
            name = answer.headers["x-request-id"]
            for line in answer.iter_lines():
                if line.startswith("data: {"):
                    chunk = json.loads(line.removeprefix("data: "))
                    if chunk["choices"] and chunk["choices"][0]["logprobs"]:
                        # A chunk of several tokens lists them as steps.
                        steps = chunk.get("mixtures") or [{"weights": chunk["mixture"]["adapters"]}]
                        told += [step["weights"] for step in steps]
        trace = client.get(f"/v1/traces/{name}", params={"expand": "true"}).json()
    expanded = trace["choices"][0]["per_token"]
    assert told == [one["weights"] for one in expanded]
    assert len(told) == NEW


def test_choices_have_traces_of_their_own(server: RunningServer) -> None:
    asked = body(23, 1, n=3, temperature=1.5, seed=5)
    with server.client() as client:
        answer = client.post("/v1/completions", json=asked)
        trace = client.get(f"/v1/traces/{answer.headers['x-request-id']}").json()
    steps = [[step["weights"] for step in choice["steps"]] for choice in trace["choices"]]
    assert [len(each) for each in steps] == [NEW] * 3
    assert all(each[0] == steps[0][0] for each in steps)
    assert steps[0] != steps[1]


def test_a_client_that_leaves_leaves_nothing(server: RunningServer) -> None:
    asked = body(24, 1, stream=True, max_tokens=400)
    for _ in range(5):
        with server.client() as client, client.stream("POST", "/v1/completions", json=asked) as it:
            next(it.iter_lines())
    deadline = time.monotonic() + 30
    while gauge(server, "running_traces") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert gauge(server, "running_traces") == 0
    assert gauge(server, "leases") == 0


def test_unknown_traces_are_not_found(server: RunningServer) -> None:
    with server.client() as client:
        answer = client.get("/v1/traces/no-such-request")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "trace_not_found"


PROMPT = "write a computer program"
ROUTES = {
    "/v1/completions": {"prompt": PROMPT, "max_tokens": 3},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": PROMPT}], "max_tokens": 3},
    "/v1/responses": {"input": PROMPT, "max_output_tokens": 3},
}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("path", ROUTES)
def test_an_answers_own_id_finds_its_trace(server: RunningServer, path: str, stream: bool) -> None:
    """Also where a client gives every request the same ``X-Request-Id``."""
    routing = {**WARM, "scope": "token", "stride": 1}
    asked = {"model": "auto", "ignore_eos": True, "routing": routing, **ROUTES[path]}
    with server.client(headers={"X-Request-Id": f"reused-{stream}"}) as client:
        answers = [client.post(path, json={**asked, "stream": stream}) for _ in range(2)]
        names = [_answer_id(answer) for answer in answers]
        traces = [client.get(f"/v1/traces/{name}").json() for name in names]
        latest = client.get(f"/v1/traces/{answers[1].headers['x-request-id']}").json()
    assert len(set(names)) == 2
    assert [trace["answer_id"] for trace in traces] == names
    assert all(trace["finished"] and trace["id"] == f"reused-{stream}" for trace in traces)
    assert latest == traces[1]


def _answer_id(answer: httpx.Response) -> str:
    """What an answer, or each chunk of one, calls itself."""
    assert answer.status_code == 200, answer.text
    if answer.headers["content-type"].startswith("application/json"):
        return str(answer.json()["id"])
    sent = [line.removeprefix("data: ") for line in answer.text.splitlines()]
    chunks = [json.loads(line) for line in sent if line.startswith("{")]
    told = [chunk.get("response", chunk) for chunk in chunks]
    (name,) = {one["id"] for one in told if "id" in one and one.get("object") != "response.item"}
    return str(name)
