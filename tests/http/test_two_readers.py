"""What a request says, read once: paths, headers and fields that were read in two ways before.

The whole of each kind is walked without an engine (tests/unit/server/without_engine); here vLLM's
own routes answer.
"""

import gzip
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.http.test_bad_requests import check

CHAT, COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
BODIES = {
    COMPLETIONS: {"prompt": "one two", "max_tokens": 1},
    CHAT: {"messages": [{"role": "user", "content": "one two"}], "max_tokens": 1},
    RESPONSES: {"input": "one two", "max_output_tokens": 1},
    "/tokenize": {"prompt": "one two"},
    "/detokenize": {"tokens": [40, 41]},
}
UNSEEN = ("%0A", "%0D", "%00", "%09", "%C2%85", "%E2%80%A8")
UNSAFE = ({"n": 100}, {"use_beam_search": True}, {"kv_transfer_params": {"a": 1}})


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("unseen", UNSEEN)
def test_a_line_break_after_a_path_leads_nowhere(keyed, path, unseen):
    """Before, the base model answered under the name of an adapter, hidden ones included."""
    for model in ("r8-a", "r16", "nope", "tiny-llama"):
        for unsafe in ({}, *UNSAFE):
            body = {**BODIES[path], "model": model, **unsafe}
            check(keyed["narrow"].post(f"{path}{unseen}", json=body), 404, "not_found")


@pytest.mark.parametrize("path", BODIES)
def test_every_letter_escaped_is_the_same_path(keyed, path):
    escaped = "/" + "".join(f"%{ord(letter):02x}" for letter in path[1:])
    hidden = {**BODIES[path], "model": "r16"}
    check(keyed["narrow"].post(escaped, json=hidden), 404, "model_not_found")
    answer = keyed["narrow"].post(escaped, json={**BODIES[path], "model": "r8-a"})
    assert answer.status_code == 200, answer.text
    if path.startswith("/v1/"):
        assert answer.headers["x-loralloy-mixture"].startswith("r8-a=1")


@pytest.mark.parametrize("path", [COMPLETIONS, CHAT])
@pytest.mark.parametrize("key", ["narrow", "admin"])
def test_no_header_tells_the_engines_load(keyed, path, key):
    for form in ("JSON", "TEXT", "json"):
        answer = keyed[key].post(
            path,
            json={**BODIES[path], "model": "r8-a"},
            headers={
                "endpoint-load-metrics-format": form,
                "X-Vllm-Priority": "x",
                "traceparent": "y",
            },
        )
        assert answer.status_code == 200
        assert not [name for name in answer.headers if "load-metrics" in name]


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("kind", ["Application/JSON; charset=utf-16", "application/json ;x"])
def test_json_is_json_however_it_is_called(keyed, path, kind):
    body = json.dumps({**BODIES[path], "model": "r8-a"}).encode()
    plain = keyed["narrow"].post(path, content=body, headers={"Content-Type": kind})
    assert plain.status_code == 200, plain.text
    packed = {"Content-Type": kind, "Content-Encoding": "gzip"}
    zipped = keyed["narrow"].post(path, content=gzip.compress(body), headers=packed)
    assert zipped.status_code == 200, zipped.text
    bomb = gzip.compress(b" " * 2**26)
    check(keyed["narrow"].post(path, content=bomb, headers=packed), 413, "request_too_large")


def test_head_is_answered_wherever_get_is(keyed):
    for path in ("/health", "/ready", "/v1/models", "/v1/models/r8-a", "/openapi.json"):
        asked, whole = keyed["narrow"].head(path), keyed["narrow"].get(path)
        assert (asked.status_code, asked.content, whole.status_code) == (200, b"", 200)


# Null, and what is wrong, in every field that the schema tells of vLLM's routes.

ABSENT_FROM_NULL = frozenset({"id", "created", "created_at", "mixture", "usage"})
FOREIGN = (
    *("Input should", "Field required", "Extra inputs", "pydantic", "Value error", "vllm", "vLLM"),
    *(
        "VLLM",
        "parameter=",
        "SamplingParams",
        "Request`",
        "starlette",
        "--",
        "Traceback",
        "valid int",
    ),
    *("`", "object has no attribute", "<class", "ValidationError", "unexpected keyword"),
)
WRONG = [-1, 1.5, True, "", "x" * 300, ["x"], [[]], {"x": 1}, 10**40]


@pytest.fixture(scope="module")
def fields(keyed) -> dict[str, list[str]]:
    """Path → the fields of its body, as /openapi.json tells them."""
    schema = keyed["admin"].get("/openapi.json").json()

    def properties(part: dict) -> set[str]:
        if "$ref" in part:
            return properties(schema["components"]["schemas"][part["$ref"].rpartition("/")[2]])
        found = set(part.get("properties", {}))
        for kind in ("anyOf", "oneOf", "allOf"):
            found |= {name for one in part.get(kind, ()) for name in properties(one)}
        return found

    return {
        path: sorted(
            properties(
                schema["paths"][path]["post"]["requestBody"]["content"]["application/json"][
                    "schema"
                ]
            )
        )
        for path in BODIES
    }


@pytest.mark.parametrize("path", BODIES)
def test_null_is_absent_in_every_field(keyed, fields, path):
    """Each field alone, then all at once, then those that options and messages have."""
    body = dict(BODIES[path])
    if path.startswith("/v1/"):
        body |= {"model": "r8-a", "temperature": 0}
    free = [field for field in fields[path] if field not in body]
    assert free
    nested = {"stream_options": {"include_usage": None, "include_mixture": None}}
    nested |= {"response_format": {"type": "text", "json_schema": None}}
    bodies = [body, *({**body, field: None} for field in free), {**body, **dict.fromkeys(free)}]
    if path in (CHAT, COMPLETIONS):
        bodies.append({**body, **nested})
    if path == CHAT:
        message = {**body["messages"][0], "name": None, "tool_calls": None, "tool_call_id": None}
        bodies.append({**body, "messages": [message]})
    told = []
    for one in bodies:
        answer = keyed["narrow"].post(path, json=one)
        assert answer.status_code == 200, (one, answer.text)
        told.append({k: v for k, v in answer.json().items() if k not in ABSENT_FROM_NULL})
    for one, what in zip(bodies, told, strict=True):
        assert text_of(what) == text_of(told[0]), one


def text_of(answer: dict) -> object:
    """What was made, of an answer of any of the routes."""
    for choice in answer.get("choices", ()):
        return choice.get("text") or choice["message"]["content"]
    if "output" in answer:
        return [part["text"] for item in answer["output"] for part in item.get("content", ())]
    return answer


@pytest.mark.parametrize("path", BODIES)
def test_what_is_wrong_in_a_field_is_told_in_our_words(keyed, fields, path):
    tried = [(field, wrong) for field in (*fields[path], "no_such_field") for wrong in WRONG]

    def ask(one: tuple[str, object]) -> tuple[int, str]:
        field, wrong = one
        answer = keyed["wide"].post(path, json={**BODIES[path], "model": "r8-a", field: wrong})
        return answer.status_code, answer.text if answer.status_code >= 400 else ""

    with ThreadPoolExecutor(8) as pool:
        answers = list(zip(tried, pool.map(ask, tried), strict=True))
    assert [one for one, (status, _) in answers if status >= 500] == []
    messages = {
        json.loads(text)["error"]["message"].replace("'vllm_xargs'", ""): one
        for one, (_, text) in answers
        if text
    }
    assert messages
    foreign = {told: one for told, one in messages.items() if any(w in told for w in FOREIGN)}
    assert not foreign
    assert all(len(message) < 1500 for message in messages)
