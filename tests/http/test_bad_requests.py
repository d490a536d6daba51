"""Bad input to the real server: each with its status and code, and the server healthy after all."""

import json
import tempfile
from pathlib import Path

import pytest

CHAT, COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
ASK = {"model": "tiny-llama", "prompt": "hi", "max_tokens": 2}
TALK = {"model": "tiny-llama", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
LONG = "word " * 600


LEAKS = (
    *("Traceback", 'File "', "site-packages", "/home/", ".py"),
    *(f"{folder}/" for folder in (Path.home(), tempfile.gettempdir(), Path.cwd())),
)
"""What tells of the server's inside: no message may hold any of it."""


def check(response, status: int, code: str) -> dict:
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert set(body) == {"error"}, body
    error = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (response.status_code, error["code"]) == (status, code), error
    assert error["type"] == ("server_error" if status >= 500 else error["type"])
    for leak in LEAKS:
        assert leak not in error["message"]
    assert len(error["message"]) < 1500
    return error


def mixture(*pairs, **more) -> dict:
    return {"mixture": {"adapters": dict(pairs), **more}}


@pytest.mark.parametrize(
    ("path", "changes", "status", "code"),
    [
        (COMPLETIONS, {"model": "nope"}, 404, "model_not_found"),
        (CHAT, {"model": "nope"}, 404, "model_not_found"),
        (RESPONSES, {"model": "nope", "input": "x"}, 404, "model_not_found"),
        (COMPLETIONS, {"model": "../../etc/passwd"}, 404, "model_not_found"),
        (COMPLETIONS, {"model": 3}, 400, "invalid_request"),
        (COMPLETIONS, mixture(("nope", 1)), 404, "model_not_found"),
        (COMPLETIONS, mixture(("r8-a", -0.5)), 400, "weight_invalid"),
        (COMPLETIONS, mixture(("r8-a", 1e9)), 400, "weight_invalid"),
        (COMPLETIONS, mixture(("r8-a", "1")), 400, "weight_invalid"),
        (COMPLETIONS, mixture(), 400, "mixture_empty"),
        (COMPLETIONS, mixture(("r8-a", 1), combination="svd"), 400, "mixture_invalid"),
        (
            COMPLETIONS,
            mixture(("r8-a", 1), ("r16", 1), combination="linear"),
            400,
            "mixture_ranks_differ",
        ),
        (
            COMPLETIONS,
            mixture(("patterned", 1), combination="linear_peft04"),
            400,
            "mixture_ranks_differ",
        ),
        (
            COMPLETIONS,
            {**mixture(("r8-a", 1)), "policy": "auto"},
            400,
            "mixture_conflict",
        ),
        (COMPLETIONS, {"lora": [], "adapter_id": "r16"}, 400, "mixture_conflict"),
        (COMPLETIONS, {"policy": "nope"}, 404, "model_not_found"),
        (COMPLETIONS, {"policy": "auto", "routing": {"top_k": 0}}, 400, "invalid_policy"),
        (COMPLETIONS, {"policy": "auto", "routing": {"nope": 1}}, 400, "invalid_policy"),
        (
            COMPLETIONS,
            {"policy": "auto", "routing": {"candidates": {"include": ["nope"]}}},
            400,
            "unknown_adapter_in_policy",
        ),
        (COMPLETIONS, {"prompt": LONG}, 400, "context_length_exceeded"),
        (COMPLETIONS, {"prompt": LONG, "model": "auto"}, 400, "context_length_exceeded"),
        (
            CHAT,
            {"messages": [{"role": "user", "content": LONG}]},
            400,
            "context_length_exceeded",
        ),
        (RESPONSES, {"input": LONG}, 400, "context_length_exceeded"),
        (COMPLETIONS, {"max_tokens": 100_000}, 400, "context_length_exceeded"),
        (COMPLETIONS, {"max_tokens": -1}, 400, "invalid_request"),
        (COMPLETIONS, {"prompt": None}, 400, "invalid_request"),
        (COMPLETIONS, {"prompt": ""}, 400, "invalid_request"),
        (COMPLETIONS, {"prompt": []}, 400, "invalid_request"),
        (COMPLETIONS, {"prompt": {"a": 1}}, 400, "invalid_request"),
        (COMPLETIONS, {"prompt": [10**9]}, 400, "invalid_request"),
        (COMPLETIONS, {"prompt": [2**70], "model": "auto"}, 400, "prompt_not_text"),
        (COMPLETIONS, {"prompt": ["x"] * 65}, 400, "invalid_request"),
        (COMPLETIONS, {"temperature": "hot"}, 400, "invalid_request"),
        (COMPLETIONS, {"temperature": -1}, 400, "invalid_request"),
        (COMPLETIONS, {"n": 0}, 400, "invalid_request"),
        (COMPLETIONS, {"n": 10_000}, 400, "invalid_request"),
        (COMPLETIONS, {"logprobs": 10_000}, 400, "invalid_request"),
        (COMPLETIONS, {"logit_bias": {"99999999": 1}}, 400, "invalid_request"),
        (COMPLETIONS, {"structured_outputs": {"regex": "("}}, 400, "invalid_request"),
        (COMPLETIONS, {"vllm_xargs": {"loralloy": "x"}}, 400, "unsupported_parameter"),
        (COMPLETIONS, {"kv_transfer_params": {"a": 1}}, 400, "unsupported_parameter"),
        (COMPLETIONS, {"prompt_embeds": "AAAA"}, 400, "unsupported_parameter"),
        (COMPLETIONS, {"use_beam_search": True}, 400, "unsupported_parameter"),
        (COMPLETIONS, {"priority": 5}, 400, "unsupported_parameter"),
        (COMPLETIONS, {"cache_salt": "a/b"}, 400, "invalid_request"),
        (COMPLETIONS, {"stream_options": {"include_mixture": True}}, 400, "invalid_request"),
        (RESPONSES, {"input": "x", "background": True}, 400, "unsupported_parameter"),
        (RESPONSES, {"input": 3}, 400, "invalid_request"),
        (CHAT, {"messages": []}, 400, "invalid_request"),
        (CHAT, {"messages": "x"}, 400, "invalid_request"),
        (CHAT, {"messages": [{"content": 3}]}, 400, "invalid_request"),
        (CHAT, {"messages": None}, 400, "invalid_request"),
        (CHAT, {"tools": [{"type": "function"}]}, 400, "invalid_request"),
        (CHAT, {"chat_template": "{{ 1 }}"}, 400, "unsupported_parameter"),
        (CHAT, {"response_format": {"type": "json_schema"}}, 400, "invalid_request"),
        (
            CHAT,
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "image_url", "image_url": {"url": "http://127.0.0.1:9/"}}
                        ],
                    }
                ]
            },
            400,
            "invalid_request",
        ),
    ],
)
def test_a_bad_field_is_refused(http, path, changes, status, code):
    body = {**(TALK if path == CHAT else ASK), **changes}
    if path == RESPONSES:
        body = {key: value for key, value in body.items() if key not in ("prompt", "max_tokens")}
    check(http.post(path, json=body), status, code)


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, RESPONSES])
@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b'"x"', b'{"a": NaN}', b'{"a": "\\ud800"}', b"\xff", b"[" * 50_000],
    ids=["empty", "cut", "list", "text", "nan", "surrogate", "bytes", "deep"],
)
def test_a_broken_body_is_refused(http, path, raw):
    headers = {"Content-Type": "application/json"}
    check(http.post(path, content=raw, headers=headers), 400, "invalid_json")


@pytest.mark.parametrize("path", ["/v1/route", "/tokenize"])
def test_a_broken_body_is_refused_by_other_routes_too(http, path):
    headers = {"Content-Type": "application/json"}
    check(http.post(path, content=b"{", headers=headers), 400, "invalid_json")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_only_json_is_taken(http, kind):
    response = http.post(COMPLETIONS, content=json.dumps(ASK), headers={"Content-Type": kind})
    check(response, 400, "invalid_request")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not_found"),
        ("GET", "/v1/nope", 404, "not_found"),
        ("GET", "/v1/models/nope", 404, "model_not_found"),
        ("GET", "/v1/adapters/nope", 404, "adapter_not_found"),
        ("DELETE", "/v1/adapters/nope", 404, "adapter_not_found"),
        ("GET", "/v1/policies/nope", 404, "unknown_policy"),
        ("GET", "/v1/responses/nope", 404, "not_found"),
        ("PUT", "/v1/models", 405, "method_not_allowed"),
        ("GET", COMPLETIONS, 405, "method_not_allowed"),
        ("POST", COMPLETIONS + "/", 404, "not_found"),
        ("POST", "/" + COMPLETIONS, 404, "not_found"),
        ("POST", "/v1/chat/completions/batch", 404, "not_found"),
        ("POST", "/load_lora_adapter", 404, "not_found"),
        ("POST", "/invocations", 404, "not_found"),
        ("POST", "/collective_rpc", 404, "not_found"),
        ("POST", "/v1/embeddings", 404, "not_found"),
        ("GET", "/v1/adapters/..%2f..%2fetc", 404, "not_found"),
    ],
)
def test_what_is_not_served_is_told(http, method, path, status, code):
    check(http.request(method, path), status, code)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "invalid_request"),
        ({"input": 3}, 400, "invalid_request"),
        ({"input": []}, 400, "invalid_request"),
        ({"input": "a", "prompt": "b"}, 400, "invalid_request"),
        ({"input": "a", "nope": 1}, 400, "invalid_request"),
        ({"input": "a", "policy": "nope"}, 404, "model_not_found"),
        ({"input": "a", "routing": {"temperature": -1}}, 400, "invalid_policy"),
    ],
)
def test_a_bad_dry_run_is_refused(http, body, status, code):
    check(http.post("/v1/route", json=body), status, code)


def test_more_members_than_slots_are_refused(http, server):
    config = json.loads((server.adapters["r8-a"] / "adapter_config.json").read_text())
    weights = (server.adapters["r8-a"] / "adapter_model.safetensors").read_bytes()
    extra = [f"extra-{number}" for number in range(3)]
    try:
        for number, name in enumerate(extra):
            changed = json.dumps({**config, "lora_alpha": 3 + number}).encode()
            files = {"config": ("c.json", changed), "file": ("w.safetensors", weights)}
            assert http.post("/v1/adapters", data={"name": name}, files=files).status_code == 201
        body = {**ASK, **mixture(*((name, 0.1) for name in [*server.adapters, *extra]))}
        check(http.post(COMPLETIONS, json=body), 400, "mixture_too_large")
    finally:
        for name in extra:
            assert http.delete(f"/v1/adapters/{name}").status_code == 200
