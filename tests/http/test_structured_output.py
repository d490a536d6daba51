"""Constraints of answers hold on every route, whichever of vLLM's backends compiles them.

And one that no bound sees, though it would hold up everybody's next token, is refused by its trial.
"""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any

import psutil
import pytest

from server.engine.structured.compile_server import NICENESS

PATHS = {
    "/v1/completions": {"prompt": "write", "max_tokens": 48},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "write"}], "max_tokens": 48},
    "/v1/responses": {"input": "write", "max_output_tokens": 48},
}
THIRDS = {"enum": [3, 6, 9], "type": "integer", "multipleOf": 3}
"""xgrammar takes no ``multipleOf``: another backend compiles it."""
TAG = {"type": "structural_tag", "format": {"type": "const_string", "value": "yes"}}
FIT: dict[str, tuple[Mapping[str, Any], frozenset[str]]] = {
    "another backend": ({"json": THIRDS}, frozenset("369")),
    "choice": ({"choice": ["yes", "no"]}, frozenset({"yes", "no"})),
    "regex": ({"regex": "[ab]"}, frozenset("ab")),
    "grammar": ({"grammar": 'root ::= "yes" | "no"'}, frozenset({"yes", "no"})),
    "Lark": ({"grammar": 'start: "yes" | "no"'}, frozenset({"yes", "no"})),
    "json": ({"json": {"enum": [True]}}, frozenset({"true"})),
    "json in text": ({"json": '{"enum": [true]}'}, frozenset({"true"})),
    "tag": ({"structural_tag": json.dumps(TAG)}, frozenset({"yes"})),
}
SLOW = {"grammar": 'root ::= root root root | root root | "a" | "b" | ""'}
"""What has been said so far can be read in ever more ways, and each is gone through for a token."""
LATER_SLOW = {"grammar": 'root ::= "z" slow | [a-y]*\nslow ::= slow slow slow | "a" | "b" | ""'}
"""Its trial goes the other way, as nearly every letter does."""


def text_of(answer: Mapping[str, Any]) -> str:
    if "output" in answer:
        return "".join(part["text"] for one in answer["output"] for part in one["content"])
    choice = answer["choices"][0]
    return str(choice["text"] if "text" in choice else choice["message"]["content"])


@pytest.fixture(scope="module")
def slow(server) -> dict[str, Any]:
    """A body whose answer goes the slow way, and to no end."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(server.base_folder)
    bias = {tokenizer.convert_tokens_to_ids("z"): 100.0}
    bias |= dict.fromkeys(tokenizer.all_special_ids, -100.0)
    constraint = {"structured_outputs": LATER_SLOW, "model": "tiny-llama"}
    return {**constraint, "logit_bias": {str(one): many for one, many in bias.items()}}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", FIT)
def test_an_answer_keeps_to_its_constraint(http, path, kind):
    constraint, allowed = FIT[kind]
    body = {"model": "tiny-llama", **PATHS[path], "temperature": 0}
    answer = http.post(path, json={**body, "structured_outputs": constraint})
    assert answer.status_code == 200, answer.text
    assert text_of(answer.json()).strip() in allowed


@pytest.mark.parametrize("path", PATHS)
def test_a_grammar_that_slows_down_as_it_goes_is_refused_before_it_is_used(http, path):
    body = {"model": "tiny-llama", **PATHS[path], "structured_outputs": SLOW}
    answer = http.post(path, json=body)
    assert answer.status_code == 400, answer.text
    assert "takes too long for each token" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("streams", [False, True])
def test_a_grammar_that_slows_down_in_the_engine_is_its_requests_fault(http, slow, path, streams):
    body = {**PATHS[path], **slow, "stream": streams}
    body["max_output_tokens" if path == "/v1/responses" else "max_tokens"] = 400
    answer = http.post(path, json=body)
    assert answer.status_code == (200 if streams else 400), answer.text
    (said,) = [line for line in answer.text.splitlines() if '"error"' in line]
    error = json.loads(said.removeprefix("data: "))["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_request")
    assert "has ended it: its grammar takes too long for each token" in error["message"]
    if streams:
        assert len(answer.text.splitlines()) > 20, "it had begun"


def test_a_grammar_that_slows_down_ends_no_other_answer(http, slow):
    others = {"model": "tiny-llama", **PATHS["/v1/completions"], "ignore_eos": True, "n": 4}
    path, fits = "/v1/completions", {"structured_outputs": {"regex": "[a-y]{400}"}}
    with ThreadPoolExecutor(3) as pool:
        bodies = [{**PATHS[path], **slow}, {**others, **fits}, others]
        sent = [pool.submit(http.post, path, json={**one, "max_tokens": 400}) for one in bodies]
        statuses = [one.result().status_code for one in sent]
    assert statuses == [400, 200, 200]


@pytest.mark.parametrize("path", PATHS)
def test_what_is_no_constraint_is_told(http, path):
    body = {"model": "tiny-llama", **PATHS[path], "structured_outputs": {"regex": "("}}
    answer = http.post(path, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")
    assert '"code": "invalid_request"' in http.post(path, json={**body, "stream": True}).text


def test_unlike_constraints_hold_in_one_batch(http):
    """Each has a backend and a grammar of its own, whichever came first."""
    kinds = [*FIT] * 2

    def ask(kind: str) -> str:
        body = {"model": "tiny-llama", **PATHS["/v1/completions"], "n": 2}
        answer = http.post("/v1/completions", json={**body, "structured_outputs": FIT[kind][0]})
        assert answer.status_code == 200, answer.text
        return text_of(answer.json()).strip()

    with ThreadPoolExecutor(8) as pool:
        for kind, said in zip(kinds, pool.map(ask, kinds), strict=True):
            assert said in FIT[kind][1], kind


LONG_TEXTS = {f"p{one}": {"type": "string", "maxLength": 4000 + one} for one in range(500)}
LONG_SCHEMA = {"type": "object", "properties": LONG_TEXTS, "required": [*LONG_TEXTS]}
"""Seconds of compiling, within every bound of a schema."""


def compilations(server) -> Iterator[psutil.Process]:
    """The processes that compile now: each forked off a process that steps back as it does."""
    usual = psutil.Process().nice()
    for one in psutil.Process(server.process.pid).children(recursive=True):
        try:
            if one.nice() == one.parent().nice() == min(usual + NICENESS, 19):
                yield one
        except (psutil.NoSuchProcess, AttributeError):
            continue


def first_compilation(server) -> psutil.Process:
    """The next that begins."""
    for _ in range(3000):
        for one in compilations(server):
            return one
        time.sleep(0.01)
    raise AssertionError("nothing is compiled")


def computed(process: psutil.Process, seconds: float) -> float:
    """Processor seconds that a process takes from now on, at most so many: then it is let be."""
    took = 0.0
    while took < seconds:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                break
            took = process.cpu_times().user
        except psutil.NoSuchProcess:
            break
        time.sleep(0.01)
    return took


def test_what_a_client_has_left_is_not_compiled_to_its_end(server):
    assert list(compilations(server)) == []
    asked = {"model": "tiny-llama", **PATHS["/v1/completions"], "max_tokens": 1}
    body = json.dumps({**asked, "structured_outputs": {"json": LONG_SCHEMA}}).encode()
    headers = {"Content-Type": "application/json"}

    def sent() -> HTTPConnection:
        address = server.url.removeprefix("http://")
        connection = HTTPConnection(address, timeout=120)
        connection.request("POST", "/v1/completions", body, headers)
        return connection

    leaving = sent()
    left = first_compilation(server)
    leaving.close()
    took = computed(left, 60)
    staying = sent()
    stays = first_compilation(server)
    assert stays.pid != left.pid, "who leaves has ended it, and nothing of it is remembered"
    answers: list[int] = []
    reader = threading.Thread(target=lambda: answers.append(staying.getresponse().status))
    reader.start()
    assert computed(stays, 60) > 2 * took
    reader.join()
    assert answers, "who stays is answered"
