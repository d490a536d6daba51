"""Whatever schema a tool has, the grammar of its arguments lets nothing but objects through."""

import json

import pytest
import xgrammar

from server.errors import InvalidRequest
from server.generation.tools import NO_PARAMETERS, with_object_schemas

NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}
TEXT = {"type": "string"}
NUMBER = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}

OBJECTS = [
    {},
    {"type": "object"},
    {"properties": {"a": {"type": "integer"}}, "required": ["a"]},
    NUMBER,
    {**NUMBER, "additionalProperties": True},
    {**NUMBER, "not": {"required": ["b"]}},
    {"$ref": "#/$defs/Node", "$defs": {"Node": NODE}},
    {"anyOf": [NUMBER, {"type": "object"}]},
    {"oneOf": [NUMBER, {"$ref": "#/$defs/N"}], "$defs": {"N": {"type": "object"}}},
    {"allOf": [NUMBER]},
    {"const": {"a": 1}},
    {"enum": [{"a": 1}, {}]},
]
OTHERS = [
    {"type": "string"},
    {"type": ["object", "null"]},
    {"type": "array", "items": NUMBER},
    {"type": None},
    {"anyOf": [NUMBER, TEXT]},
    {"oneOf": [NUMBER, {"required": ["b"]}]},
    {"anyOf": "x"},
    {"allOf": [TEXT]},
    {"const": 5},
    {"enum": [1, {"a": 1}]},
    {"enum": {}},
    {"$ref": "#/$defs/T", "$defs": {"T": TEXT}},
    {"$ref": "#/$defs/nowhere"},
    {"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "object"}}},
    {"$ref": "#/$defs/Self", "$defs": {"Self": {"$ref": "#/$defs/Self"}}},
    {"$ref": "http://example.com/schema"},
    {"$ref": 3},
]


def chat(schema):
    return {"type": "function", "function": {"name": "f", "parameters": schema}}


def response(schema):
    return {"type": "function", "name": "f", "parameters": schema}


def grammar(schema) -> str:
    """What the engine's grammar of a call's arguments begins with."""
    tag = {"type": "tag", "begin": "", "content": {"type": "json_schema"}, "end": ""}
    tag["content"]["json_schema"] = schema
    whole = xgrammar.Grammar.from_structural_tag(
        json.dumps({"type": "structural_tag", "format": tag})
    )
    return whole


def accepts(schema, text: str) -> bool:
    vocabulary = [chr(code) for code in range(1, 128)]
    tokens = xgrammar.TokenizerInfo([*vocabulary, "<eos>"], stop_token_ids=[len(vocabulary)])
    compiled = xgrammar.GrammarCompiler(tokens).compile_grammar(grammar(schema))
    matcher = xgrammar.GrammarMatcher(compiled, terminate_without_stop_token=True)
    return matcher.accept_string(text) and matcher.is_terminated()


@pytest.mark.parametrize("schema", OBJECTS, ids=str)
@pytest.mark.parametrize("form", [chat, response])
def test_a_schema_of_objects_is_taken_and_lets_nothing_else_through(schema, form):
    (made,) = with_object_schemas([form(schema)])
    parameters = made["function"]["parameters"] if form is chat else made["parameters"]
    assert {**schema, "type": "object"} == parameters
    for text in ("5", '"a"', "null", "true", "[]", "[{}]"):
        assert not accepts(parameters, text), text
    assert any(accepts(parameters, text) for text in ("{}", '{"a":1}', '{"a": 1}'))


@pytest.mark.parametrize("schema", OTHERS, ids=str)
@pytest.mark.parametrize("form", [chat, response])
def test_a_schema_that_allows_anything_else_is_refused(schema, form):
    with pytest.raises(InvalidRequest) as caught:
        with_object_schemas([form(None), form(schema)])
    inside = "function.parameters" if form is chat else "parameters"
    assert caught.value.param == f"tools[1].{inside}"
    assert "object" in str(caught.value)


@pytest.mark.parametrize("form", [chat, response])
def test_no_parameters_are_an_empty_object(form):
    bare = form(None)
    (bare["function"] if form is chat else bare).pop("parameters")
    for tool in (form(None), bare):
        (made,) = with_object_schemas([tool])
        parameters = made["function"]["parameters"] if form is chat else made["parameters"]
        assert parameters == NO_PARAMETERS
        assert accepts(parameters, "{}")
        assert not accepts(parameters, '{"a":1}')


@pytest.mark.parametrize(
    "tools",
    [
        None,
        "x",
        {},
        [],
        [3],
        [{}],
        [{"type": "function"}],
        [{"type": "function", "function": 3}],
        [{"type": "function", "function": {"name": "f", "parameters": True}}],
        [{"type": "web_search", "parameters": {"type": "string"}}],
        [{"type": "custom", "name": "f"}],
    ],
)
def test_what_is_no_tool_is_left_to_the_engine(tools):
    assert with_object_schemas(tools) == tools


def test_the_clients_tools_are_left_alone():
    tool = chat({"properties": {}})
    with_object_schemas([tool])
    assert tool == chat({"properties": {}})
