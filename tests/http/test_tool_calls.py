"""Tools: called by name, as required and by the model's choice, whole and streamed.

What a call's arguments are is checked without ``strict``, with which it would be no news.
"""

import json

import openai
import pytest
from transformers import AutoTokenizer

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
OTHER = '<tool_call>\n{"name": "note", "arguments": {"ok": false, "kind": "a"}}\n</tool_call>'
DEEP = {"ok": True, "kind": "a", "more": {"text": 'a } "quoted" { é\n', "list": [[], {}]}}

NOTED, ALSO = ("note", {"ok": True, "kind": "b"}), ("note", {"ok": False, "kind": "a"})
SAID = {
    "a call": (f"Noted.\n{CALL}", "Noted.", [NOTED]),
    "two calls": (f"Both, then.\n{CALL}\n{OTHER}", "Both, then.", [NOTED, ALSO]),
    "a call without an end": ("Noted. " + CALL.removesuffix("</tool_call>"), "Noted.", [NOTED]),
    "deep arguments": (
        f'In {{}}: <tool_call>{{"name": "note", "arguments": {json.dumps(DEEP)}}}</tool_call>',
        "In {}:",
        [("note", DEEP)],
    ),
    "nearly a call": ("Write <tool_cal>, then {}.", "Write <tool_cal>, then {}.", []),
}
"""Kind → what the model says, and what of it is text and what are calls."""

MIXED = pytest.mark.parametrize("extra", [{}, TWO], ids=["auto", "mixture"])


@pytest.fixture(scope="module")
def sdk(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def few_calls(server, no_whitespace):
    """A bias also against what a call begins with.

    To `auto` with a text that the answer must be, vLLM adds calls of any number as another answer
    that may be: the model then says the text if it begins with words, and makes one call if not.
    """
    tokenizer = AutoTokenizer.from_pretrained(server.base_folder)
    ids = set(range(len(tokenizer))) - set(tokenizer.all_special_ids)
    return no_whitespace | {str(i): -100.0 for i in ids if tokenizer.decode([i]).startswith("<")}


@pytest.fixture(scope="module")
def chat(sdk, few_calls):
    def ask(parameters, choice, extra, **options):
        function = {"name": "note"} if parameters is None else {"name": "note", **parameters}
        return sdk.chat.completions.create(
            model="tiny-llama" if extra else "auto",
            messages=HELLO,
            max_tokens=256,
            temperature=0,
            logit_bias=few_calls,
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


@pytest.mark.parametrize("kind", SAID)
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_calls_are_told_from_text_whatever_is_said(chat, kind, stream):
    text, content, calls = SAID[kind]
    answer = chat(
        {"parameters": SCHEMA}, "auto", {"structured_outputs": {"choice": [text]}}, stream=stream
    )
    said, called, reason = streamed(answer) if stream else whole(answer)
    assert said.strip() == content
    assert [(name, json.loads(arguments)) for name, arguments in called] == calls
    assert reason == ("tool_calls" if calls else "stop")


def whole(answer):
    """An answer's text, its calls as (name, arguments), and why it ended."""
    (choice,) = answer.choices
    calls = choice.message.tool_calls or ()
    assert len({call.id for call in calls}) == len(calls)
    called = [(call.function.name, call.function.arguments) for call in calls]
    return choice.message.content or "", called, choice.finish_reason


def streamed(chunks):
    """The same, put together from the chunks of a stream."""
    text, names, arguments, reason = "", {}, {}, None
    for chunk in chunks:
        for choice in chunk.choices:
            text += choice.delta.content or ""
            reason = choice.finish_reason or reason
            for call in choice.delta.tool_calls or ():
                if call.function.name:
                    assert call.index not in names, "a name comes once"
                    names[call.index] = call.function.name
                piece = call.function.arguments or ""
                arguments[call.index] = arguments.get(call.index, "") + piece
    assert list(names) == list(range(len(names)))
    return text, [(names[index], arguments[index]) for index in names], reason


@pytest.mark.parametrize("kind", SAID)
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_a_response_tells_calls_from_text_too(sdk, few_calls, kind, stream):
    text, content, calls = SAID[kind]
    answer = sdk.responses.create(
        model="auto",
        input="Write a function that adds two numbers.",
        max_output_tokens=256,
        temperature=0,
        tools=[{"type": "function", "name": "note", "parameters": SCHEMA}],
        tool_choice="auto",
        stream=stream,
        extra_body={"structured_outputs": {"choice": [text]}, "logit_bias": few_calls},
    )
    if stream:
        events = list(answer)
        answer = events[-1].response
        pieces: dict[int, str] = {}
        for event in events:
            if event.type == "response.function_call_arguments.delta":
                pieces[event.output_index] = pieces.get(event.output_index, "") + event.delta
        assert [json.loads(each) for each in pieces.values()] == [told for _, told in calls]
    found = [item for item in answer.output if item.type == "function_call"]
    assert [(call.name, json.loads(call.arguments)) for call in found] == calls
    assert answer.output_text.strip() == content


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
