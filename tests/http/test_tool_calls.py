"""Tools: called by name, as required and by the model's choice, whole and streamed.

What a call's arguments are is checked without ``strict``, with which it would be no news.
"""

import json

import openai
import pytest

HELLO = [{"role": "user", "content": "Write a function that adds two numbers."}]
TWO = {"mixture": {"adapters": {"r8-a": 0.75, "r16": 0.25}}}
OK = {"type": "boolean"}
SCHEMA = {
    "type": "object",
    "properties": {"ok": OK, "kind": {"enum": ["a", "b"]}},
    "required": ["ok", "kind"],
    "additionalProperties": False,
}
UNTYPED = {name: value for name, value in SCHEMA.items() if name != "type"}
REFERRED = {"$ref": "#/$defs/Note", "$defs": {"Note": SCHEMA}}
LOOSE = {"type": "object", "properties": {"ok": OK}, "required": ["ok"]}

NAMED = {"type": "function", "function": {"name": "note"}}
CALL = '<tool_call>\n{"name": "note", "arguments": {"ok": true, "kind": "b"}}\n</tool_call>'
MIXED = pytest.mark.parametrize("extra", [{}, TWO], ids=["auto", "mixture"])


@pytest.fixture(scope="module")
def sdk(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def chat(sdk, no_whitespace):
    def ask(parameters, choice, extra, **options):
        function = {"name": "note"} if parameters is None else {"name": "note", **parameters}
        return sdk.chat.completions.create(
            model="tiny-llama" if extra else "auto",
            messages=HELLO,
            max_tokens=256,
            temperature=0,
            logit_bias=no_whitespace,
            tools=[{"type": "function", "function": function}],
            tool_choice=choice,
            extra_body=extra,
            **options,
        )

    return ask


def check_note(arguments: str) -> None:
    noted = json.loads(arguments)
    assert set(noted) == {"ok", "kind"}
    assert isinstance(noted["ok"], bool)
    assert noted["kind"] in ("a", "b")


@MIXED
@pytest.mark.parametrize("choice", [NAMED, "required"], ids=["named", "required"])
@pytest.mark.parametrize("schema", [SCHEMA, UNTYPED, REFERRED], ids=["typed", "untyped", "ref"])
@pytest.mark.parametrize("strict", [{}, {"strict": False}, {"strict": True}], ids=str)
def test_arguments_are_an_object_by_the_tools_schema(chat, schema, strict, choice, extra):
    answer = chat({"parameters": schema, **strict}, choice, extra, parallel_tool_calls=False)
    (call,) = answer.choices[0].message.tool_calls
    assert call.function.name == "note"
    check_note(call.function.arguments)


@pytest.mark.parametrize("parameters", [None, {"parameters": None}], ids=["absent", "null"])
def test_a_tool_without_parameters_is_called_with_none(chat, parameters):
    answer = chat(parameters, NAMED, {})
    (call,) = answer.choices[0].message.tool_calls
    assert json.loads(call.function.arguments) == {}


def test_other_properties_are_not_made_up(chat):
    answer = chat({"parameters": LOOSE}, NAMED, {})
    (call,) = answer.choices[0].message.tool_calls
    assert set(json.loads(call.function.arguments)) == {"ok"}


@MIXED
def test_a_tool_that_the_model_chooses_is_found_in_what_it_says(chat, extra):
    said = {"structured_outputs": {"choice": [CALL]}, **extra}
    answer = chat({"parameters": SCHEMA}, "auto", said, parallel_tool_calls=False)
    (choice,) = answer.choices
    (call,) = choice.message.tool_calls
    assert (choice.finish_reason, call.function.name) == ("tool_calls", "note")
    assert not choice.message.content
    check_note(call.function.arguments)


@pytest.mark.parametrize("choice", ["auto", "none"])
def test_a_model_that_calls_no_tool_says_something(chat, choice):
    answer = chat({"parameters": SCHEMA}, choice, {"max_tokens": 8, "ignore_eos": True})
    assert answer.choices[0].message.content
    assert not answer.choices[0].message.tool_calls


@MIXED
@pytest.mark.parametrize("choice", [NAMED, "required", "auto"], ids=["named", "required", "auto"])
def test_a_streamed_call_is_the_one_that_a_plain_answer_has(chat, choice, extra):
    said = {"structured_outputs": {"choice": [CALL]}, **extra} if choice == "auto" else extra
    options = {} if choice is NAMED else {"parallel_tool_calls": False}
    plain = chat({"parameters": SCHEMA}, choice, said, **options).choices[0]
    with chat({"parameters": SCHEMA}, choice, said, stream=True, **options) as stream:
        chunks = [chunk.choices[0] for chunk in stream if chunk.choices]
    pieces = [call for chunk in chunks for call in chunk.delta.tool_calls or ()]
    assert {piece.index for piece in pieces} == {0}
    assert [piece.function.name for piece in pieces if piece.function.name] == ["note"]
    assert len({piece.id for piece in pieces if piece.id}) == 1
    arguments = "".join(piece.function.arguments or "" for piece in pieces)
    check_note(arguments)
    (called,) = plain.message.tool_calls
    assert json.loads(arguments) == json.loads(called.function.arguments)
    assert chunks[-1].finish_reason == plain.finish_reason
    assert not any(chunk.delta.content for chunk in chunks)


@pytest.mark.parametrize("choice", [{"type": "function", "name": "note"}, "required"], ids=str)
@pytest.mark.parametrize("schema", [SCHEMA, UNTYPED], ids=["typed", "untyped"])
def test_a_responses_call_has_such_arguments_too(sdk, no_whitespace, schema, choice):
    answer = sdk.responses.create(
        model="auto",
        input="Write a function that adds two numbers.",
        max_output_tokens=256,
        temperature=0,
        tools=[{"type": "function", "name": "note", "parameters": schema}],
        tool_choice=choice,
        parallel_tool_calls=False,
        extra_body={"logit_bias": no_whitespace},
    )
    (call,) = [item for item in answer.output if item.type == "function_call"]
    check_note(call.arguments)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
def test_parameters_that_are_no_objects_are_refused(http, path):
    schema = {"type": "array", "items": SCHEMA}
    is_chat = path == "/v1/chat/completions"
    function = {"name": "note", "parameters": schema}
    tool = {"function": function} if is_chat else function
    said = {"messages": HELLO} if is_chat else {"input": "x"}
    answer = http.post(path, json={**said, "tools": [{"type": "function", **tool}]})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "invalid_request")
    param = "tools[0].function.parameters" if is_chat else "tools[0].parameters"
    assert error["param"] == param
