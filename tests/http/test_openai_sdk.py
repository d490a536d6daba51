"""OpenAI's own client against the real server: it needs to know nothing of mixtures."""

import json

import openai
import pytest

HELLO = [{"role": "user", "content": "Write a function that adds two numbers."}]
TWO = {"mixture": {"adapters": {"r8-a": 0.75, "r16": 0.25}}}


@pytest.fixture(scope="module")
def sdk(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client:
        yield client


@pytest.mark.parametrize("model", ["auto", "nearest", "r8-a", "tiny-llama", "tiny-llama:r8-a"])
def test_chat_works_with_every_kind_of_model(sdk, model):
    answer = sdk.chat.completions.create(
        model=model, messages=HELLO, max_tokens=4, temperature=0, extra_body={"ignore_eos": True}
    )
    assert answer.model == model.removeprefix("tiny-llama:")
    assert answer.usage.completion_tokens == 4
    adapters = answer.model_extra["mixture"]["adapters"]
    policy = answer.model_extra["mixture"]["policy"]
    if model.endswith("r8-a"):
        assert (adapters, policy) == ({"r8-a": 1.0}, None)
    elif model == "tiny-llama":
        assert (adapters, policy) == ({}, None)
    else:
        assert policy == model
        assert sum(adapters.values()) == pytest.approx(1, abs=1e-3)


def test_the_router_follows_the_prompt(sdk):
    chosen = {}
    for topic, said in (("r8-b", "write a computer program"), ("r16", "a recipe for the kitchen")):
        answer = sdk.completions.create(model="nearest", prompt=said, max_tokens=1)
        chosen[topic] = list(answer.model_extra["mixture"]["adapters"])
    assert chosen == {"r8-b": ["r8-b"], "r16": ["r16"]}


def test_a_given_mixture_is_applied_and_told(sdk):
    raw = sdk.chat.completions.with_raw_response.create(
        model="tiny-llama", messages=HELLO, max_tokens=3, extra_body=TWO
    )
    assert raw.headers["x-loralloy-mixture"] == "r8-a=0.75;r16=0.25, combination=cat"
    assert raw.parse().model_extra["mixture"] == {
        "adapters": {"r8-a": 0.75, "r16": 0.25},
        "base_share": 0.0,
        "combination": "cat",
        "policy": None,
        "policy_version": None,
        "scope": "prompt",
    }


def test_mixtures_change_what_is_said(sdk):
    def say(**extra) -> str:
        answer = sdk.completions.create(
            model="tiny-llama",
            prompt="one two three",
            max_tokens=12,
            temperature=0,
            extra_body={"ignore_eos": True, **extra},
        )
        return answer.choices[0].text

    plain, single, mixed = say(), say(lora=[{"id": "r8-a"}]), say(**TWO)
    assert len({plain, single, mixed}) == 3
    merged = {"ids": ["r16", "r8-a"], "weights": [0.25, 0.75]}
    assert say(merged_adapters=merged) == mixed
    assert say(adapter_id="r8-a") == single


def test_streamed_chat_says_what_plain_chat_says(sdk):
    options = {"model": "r8-b", "messages": HELLO, "max_tokens": 12, "temperature": 0}
    plain = sdk.chat.completions.create(**options)
    with sdk.chat.completions.create(
        **options, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == plain.choices[0].message.content
    assert chunks[-1].usage.completion_tokens == plain.usage.completion_tokens
    assert not any("mixture" in (c.model_extra or {}) for c in chunks)


def test_every_chunk_tells_the_mixture_when_asked(sdk):
    with sdk.chat.completions.create(
        model="auto",
        messages=HELLO,
        max_tokens=3,
        stream=True,
        stream_options={"include_mixture": True},
    ) as stream:
        told = [chunk.model_extra["mixture"] for chunk in stream]
    assert len(told) >= 2
    assert all(one == told[0] for one in told)
    assert told[0]["policy"] == "auto"
    assert set(told[0]["scores"]) >= set(told[0]["adapters"])


def test_several_answers_and_their_log_probabilities(sdk):
    answer = sdk.chat.completions.create(
        model="tiny-llama",
        messages=HELLO,
        max_tokens=3,
        n=3,
        temperature=1.0,
        seed=1,
        logprobs=True,
        top_logprobs=5,
        extra_body={**TWO, "ignore_eos": True},
    )
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    for choice in answer.choices:
        assert len(choice.logprobs.content) == 3
        assert all(len(token.top_logprobs) == 5 for token in choice.logprobs.content)


def test_each_prompt_of_a_completion_gets_its_own_mixture(sdk):
    prompts = ["write a computer program", "a recipe for the kitchen"]
    alone = [
        sdk.completions.create(model="nearest", prompt=p, max_tokens=6, temperature=0)
        for p in prompts
    ]
    both = sdk.completions.create(model="nearest", prompt=prompts, max_tokens=6, temperature=0)
    assert [c.text for c in both.choices] == [a.choices[0].text for a in alone]
    told = [list(one["adapters"]) for one in both.model_extra["mixtures"]]
    assert told == [["r8-b"], ["r16"]]


def test_streamed_choices_tell_the_mixture_of_their_prompt(sdk):
    stream = sdk.completions.create(
        model="nearest",
        prompt=["write a computer program", "a recipe for the kitchen"],
        n=2,
        max_tokens=2,
        stream=True,
        extra_body={"stream_options": {"include_mixture": True}},
    )
    told = {c.choices[0].index: list(c.model_extra["mixture"]["adapters"]) for c in stream}
    assert told == {0: ["r8-b"], 1: ["r8-b"], 2: ["r16"], 3: ["r16"]}


def test_prompts_of_token_ids_are_routed_by_their_text(sdk, server):
    with server.client() as http:
        ids = http.post("/tokenize", json={"prompt": "write a computer program"}).json()["tokens"]
    answer = sdk.completions.create(model="nearest", prompt=ids, max_tokens=1)
    assert list(answer.model_extra["mixture"]["adapters"]) == ["r8-b"]


SCHEMA = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}, "kind": {"enum": ["a", "b"]}},
    "required": ["ok", "kind"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("extra", [{}, TWO], ids=["auto", "mixture"])
def test_json_schemas_hold_under_mixtures(sdk, no_whitespace, extra):
    answer = sdk.chat.completions.create(
        model="tiny-llama" if extra else "auto",
        messages=HELLO,
        max_tokens=64,
        temperature=0,
        logit_bias=no_whitespace,
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}},
        extra_body=extra,
    )
    said = json.loads(answer.choices[0].message.content)
    assert isinstance(said["ok"], bool)
    assert said["kind"] in ("a", "b")


def test_responses_work_plain_and_streamed(sdk):
    answer = sdk.responses.create(model="auto", input="write a program", max_output_tokens=16)
    assert answer.model_extra["mixture"]["policy"] == "auto"
    events = list(
        sdk.responses.create(model="r8-a", input="hello", max_output_tokens=16, stream=True)
    )
    assert events[0].type == "response.created"
    assert events[-1].type in ("response.completed", "response.incomplete")


def test_the_models_are_listed_with_their_parents(sdk, server):
    models = {model.id: model for model in sdk.models.list()}
    assert {"tiny-llama", "auto", *server.adapters} <= set(models)
    assert models["tiny-llama"].model_extra["parent"] is None
    assert models["r8-a"].model_extra["parent"] == "tiny-llama"
    assert models["auto"].model_extra["kind"] == "policy"
    assert sdk.models.retrieve("r8-a").id == "r8-a"
    told = json.dumps([m.model_dump() for m in models.values()])
    assert "/" not in told.replace('"object"', "")


def test_errors_are_the_sdks_own(sdk):
    with pytest.raises(openai.NotFoundError) as missing:
        sdk.chat.completions.create(model="nope", messages=HELLO)
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError) as wrong:
        sdk.completions.create(
            model="auto", prompt="x", extra_body={"mixture": {"adapters": {"r8-a": -1}}}
        )
    assert wrong.value.code == "weight_invalid"
    assert wrong.value.type == "invalid_request_error"
