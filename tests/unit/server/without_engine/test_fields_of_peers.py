"""A field that names an adapter is honoured or refused, on every route, never dropped."""

import pytest

from server.generation.prompts import Api

GENERATING = [api.value for api in Api]
READING = [*GENERATING, "/tokenize", "/detokenize"]
NULLS = {"lora_path": None, "adapters": None, "parameters": None, "extra_body": {"lora": None}}

HONOURED = [
    {"adapter_id": "maths"},
    {"adapter_id": "maths", "adapter_source": "hub", "api_token": "a secret"},
    {"adapter": "maths"},
    {"lora_path": "maths"},
    {"lora_path": ["maths"]},
    {"lora_path": ["maths", "maths"]},
    {"lora": [{"id": "maths", "scale": 1.0}]},
    {"lora": [{"id": 0, "scale": 1.0}]},
    {"lora": [{"id": 0}]},
    {"merged_adapters": {"ids": ["maths"], "weights": [1]}},
    {"mixture": {"adapters": {"maths": 1}}},
    {"parameters": {"adapter_id": "maths", "adapter_source": "local", "max_new_tokens": 3}},
    {"parameters": {"merged_adapters": {"ids": ["maths"], "weights": [1.0]}}},
    {"parameters": {"lora_path": "maths"}},
    {"model": "maths"},
    {"model": "tiny-llama:maths"},
    {"model": "tiny-llama::maths"},
    {"adapter_id": "maths", "lora_path": None, "parameters": {"adapter_id": None}},
]

NAMES = [
    *("adapters", "adapter_name", "adapter_names", "adapterId", "adapter-id", "Adapter_ID"),
    *("active_adapter", "active_adapters", "lora_name", "lora_names", "loras", "lora_request"),
    *("lora_dir", "lora_int_id", "lora_id", "loraPath", "LoRA", "lora_scale", "lora_weights"),
    *("qlora", "xlora", "use_loras", "multiLoraIds", "prompt_adapter_request", "adaptor"),
    *("peft", "peft_id", "peft_adapter", "expert", "experts", "expert_weights", "mixtures"),
    *("adapter_mixture", "merged_adapter", "x-lora-id"),
]
HOLDERS = [
    *(("parameters",), ("extra_body",), ("options",), ("nvext",), ("vllm_xargs",)),
    *(("sampling_params",), ("extra_args",), ("engine", "args")),
]


@pytest.fixture
def serving(start, tiny_adapters):
    server = start()
    server.push("maths", tiny_adapters["r8-a"])
    server.push("code", tiny_adapters["r8-b"])
    return server


def asked(path: str, **fields):
    said = {
        "/v1/completions": {"prompt": "one two"},
        "/v1/chat/completions": {"messages": [{"role": "user", "content": "one two"}]},
        "/v1/responses": {"input": "one two"},
        "/tokenize": {"prompt": "one two"},
        "/detokenize": {"tokens": [1, 2]},
    }
    return {**said[path], **fields}


def nested(holders: tuple[str, ...], value):
    for holder in reversed(holders):
        value = {holder: value}
    return value


@pytest.mark.parametrize("path", GENERATING)
def test_a_field_of_a_peer_is_honoured(serving, path):
    for fields in HONOURED:
        answer = serving.http.post(path, json=asked(path, **fields))
        assert answer.status_code == 200, (fields, answer.text)
        assert answer.headers["x-loralloy-mixture"] == "maths=1, combination=cat", fields
        reached = [(name, weight) for name, _, weight in answer.json()["reached"]]
        assert reached == [("maths", 1.0)], fields


def check_refused(serving, path: str, holders: tuple[str, ...], name: str, value) -> None:
    body = asked(path, **nested(holders, {name: value}))
    answer = serving.http.post(path, json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "unsupported_parameter"), body
    assert error["param"] == ".".join((*holders, name))
    assert "'model'" in error["message"]


@pytest.mark.parametrize("path", READING)
def test_any_other_field_that_names_an_adapter_is_refused(serving, path):
    for name in NAMES:
        for value in ("maths", ["maths"], {"name": "maths"}, 0):
            check_refused(serving, path, (), name, value)


@pytest.mark.parametrize("path", READING)
def test_such_a_field_is_refused_wherever_it_stands(serving, path):
    for holders in HOLDERS:
        for name in NAMES[::3]:
            check_refused(serving, path, holders, name, "maths")


@pytest.mark.parametrize("path", READING)
def test_lists_of_objects_are_looked_into(serving, path):
    answer = serving.http.post(path, json=asked(path, options=[[{"a": 1}], [{"lora": "maths"}]]))
    assert answer.json()["error"]["param"] == "options.lora"


@pytest.mark.parametrize("path", READING)
def test_the_query_and_the_headers_are_looked_at_too(serving, path):
    for name in ("adapter", "lora_path", "adapter_id", "model_adapter", "peft"):
        for told in ({"params": {name: "maths"}}, {"headers": {f"x-{name}": "maths"}}):
            answer = serving.http.post(path, json=asked(path), **told)
            assert answer.status_code == 400, told
            assert name in answer.json()["error"]["param"]
    many = serving.http.post(path, json=asked(path), params={f"a{n}": "1" for n in range(200)})
    assert many.status_code == 400


@pytest.mark.parametrize("path", READING)
def test_what_names_no_adapter_passes(serving, path):
    harmless = {
        "model": "tiny-llama",
        "n_predict": 3,
        "cache_prompt": True,
        "exploration": 1,
        "colorado": 1,
        "metadata": {"adapter": "mine"},
        "tools": [{"type": "function", "function": {"name": "swap_adapter"}}],
        "chat_template_kwargs": {"lora": 1},
        "routed_experts_prompt_start": 0,
        "vllm_xargs": {"mine": 1},
        **NULLS,
    }
    headers = {"X-Loralloy-Mixture": "maths=1"}
    answer = serving.http.post(path, json=asked(path, **harmless), headers=headers, params={"a": 1})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("path", READING)
def test_a_body_of_fields_that_nobody_knows_is_looked_at_within_bounds(serving, path):
    for options in ({f"a{n}": 1 for n in range(11_000)}, [{"a": 1}] * 11_000):
        answer = serving.http.post(path, json=asked(path, options=options))
        assert (answer.status_code, answer.json()["error"]["code"]) == (
            400,
            "unsupported_parameter",
        )


@pytest.mark.parametrize("path", READING)
@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"lora_path": "nobody"}, 404, "lora_path"),
        ({"parameters": {"adapter_id": "nobody"}}, 404, "parameters.adapter_id"),
        ({"adapter": "nobody"}, 404, "adapter"),
        ({"lora": [{"id": 7}]}, 404, "lora[0].scale"),
        ({"lora": [{"id": 10**15}]}, 404, "lora[0].scale"),
        ({"lora": [{"id": -1}]}, 404, "lora[0].scale"),
        ({"lora": [{"id": True}]}, 400, "lora[0].id"),
        ({"lora": [{"id": 0.0}]}, 400, "lora[0].id"),
        ({"lora": [{"id": 0}, {"id": 0}]}, 400, "lora[1].id"),
        ({"lora": [{"id": 0}, {"id": "maths"}]}, 400, "lora"),
        ({"lora_path": ["maths", "code"]}, 400, "lora_path"),
        ({"lora_path": ["maths", None]}, 400, "lora_path"),
        ({"lora_path": []}, 400, "lora_path"),
        ({"lora_path": 3}, 400, "lora_path"),
        ({"adapter": {"generation": "x"}}, 400, "adapter"),
        ({"parameters": {"adapter_id": 3}}, 400, "parameters.adapter_id"),
        ({"parameters": [{"adapter_id": "maths"}]}, 400, "parameters.adapter_id"),
        ({"parameters": {"mixture": {"adapters": {"maths": 1}}}}, 400, "parameters.mixture"),
        ({"adapter_id": "maths", "lora_path": "maths"}, 400, "lora_path"),
        ({"lora_path": "maths", "policy": "auto"}, 400, "lora_path"),
        ({"adapter": "maths", "parameters": {"adapter": "code"}}, 400, "parameters.adapter"),
    ],
)
def test_what_cannot_be_meant_is_told(serving, path, fields, status, param):
    answer = serving.http.post(path, json=asked(path, **fields))
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (status, param), error


def test_a_dry_run_takes_no_field_that_it_does_not_know(serving):
    for name in (*NAMES, "lora_path", "adapter_id", "adapter", "lora", "mixture", "parameters"):
        answer = serving.http.post("/v1/route", json={"input": "one two", name: "maths"})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)
