"""What a passed field asks for is bounded on every route, before what generates sees it."""

import json
from typing import Any

import pytest

from server.generation.prompts import Api
from tests.support.bare_server import BareServer

CHOICES = [f"answer {n}" for n in range(2_000)]
REGEX = "[a-z]{1,10000}"
SCHEMA = {"enum": CHOICES}
TAG = {
    "type": "structural_tag",
    "structures": [{"begin": "<f>", "schema": SCHEMA, "end": "</f>"}],
    "triggers": ["<f"],
}
FUNCTION = {"name": "f", "parameters": {"type": "object", "properties": {"a": SCHEMA}}}

EVERYWHERE: dict[str, dict[str, Any]] = {
    "choice": {"structured_outputs": {"choice": CHOICES}},
    "50,000 choices": {"structured_outputs": {"choice": CHOICES * 25}},
    "regex": {"structured_outputs": {"regex": REGEX}},
    "nested regex": {"structured_outputs": {"regex": "((a{1,30}){1,30}){1,30}"}},
    "grammar": {"structured_outputs": {"grammar": f"root ::= {REGEX}"}},
    "json": {"structured_outputs": {"json": SCHEMA}},
    "json in text": {"structured_outputs": {"json": json.dumps(SCHEMA)}},
    "tag": {"structured_outputs": {"structural_tag": json.dumps(TAG)}},
    "stop": {"stop": ["a"] * 2_000},
    "stop_token_ids": {"stop_token_ids": [1] * 2_000},
    "logit_bias": {"logit_bias": {str(n): 1 for n in range(2_000)}},
    "vllm_xargs": {"vllm_xargs": {"a": "b" * 40_000}},
    "mm_processor_kwargs": {"mm_processor_kwargs": {"a": "b" * 40_000}},
}
SAID_AS: dict[Api, dict[str, dict[str, Any]]] = {
    Api.COMPLETIONS: {
        "response_format": {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "x", "schema": SCHEMA},
            }
        },
        "tag in response_format": {"response_format": TAG},
        "bad_words": {"bad_words": ["a"] * 2_000},
        "allowed_token_ids": {"allowed_token_ids": [1] * 20_000},
    },
    Api.RESPONSES: {
        "text": {"text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}},
        "tools": {"tools": [{"type": "function", **FUNCTION}]},
        "many tools": {"tools": [{"type": "function", "name": f"f{n}"} for n in range(200)]},
    },
}
SAID_AS[Api.CHAT] = {
    **SAID_AS[Api.COMPLETIONS],
    "tools": {"tools": [{"type": "function", "function": FUNCTION}]},
    "tool_choice": {"tool_choice": {"type": "function", "function": {"name": "f" * 70_000}}},
    "chat_template_kwargs": {"chat_template_kwargs": {"a": ["b"] * 10_000}},
}
ASKED: dict[Api, dict[str, Any]] = {
    Api.COMPLETIONS: {"prompt": "one two"},
    Api.CHAT: {"messages": [{"role": "user", "content": "one two"}]},
    Api.RESPONSES: {"input": "one two"},
}
CASES = [(api, name) for api in Api for name in (*EVERYWHERE, *SAID_AS[api])]


@pytest.mark.parametrize(("api", "name"), CASES, ids=lambda one: str(getattr(one, "name", one)))
@pytest.mark.parametrize("streams", [False, True])
def test_no_field_past_its_bound_reaches_what_generates(
    shared: BareServer, api: Api, name: str, streams: bool
) -> None:
    fields = EVERYWHERE.get(name) or SAID_AS[api][name]
    body = {"model": "maths", **ASKED[api], **fields, "stream": streams}
    answer = shared.http.post(api.value, json=body)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["param"] == next(iter(fields))
    assert error["code"] == "invalid_request"
    assert f"'{next(iter(fields))}' has " in error["message"]
    assert "; at most " in error["message"]


@pytest.mark.parametrize("api", Api, ids=lambda one: one.name)
def test_what_is_within_its_bounds_goes_on(shared: BareServer, api: Api) -> None:
    within = {"choice": ["yes", "no"]}, {"regex": "[a-z]{1,200}"}, {"json": {"enum": CHOICES[:900]}}
    for constraint in within:
        body = {"model": "maths", **ASKED[api], "structured_outputs": constraint}
        answer = shared.http.post(api.value, json=body)
        assert answer.status_code == 200, answer.text
