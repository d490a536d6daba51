"""A schema that leads nowhere is told before the engine fails on it."""

import json

import pytest

from server.errors import InvalidRequest
from server.generation.bounds.schema_cycles import check_schemas

ENDLESS = (
    {"$ref": "#"},
    {"anyOf": [{"$ref": "#"}]},
    {"oneOf": [{"$ref": "#"}, {"allOf": [{"$ref": "#"}]}]},
    {"allOf": [{"type": "object"}, {"$ref": "#"}]},
    {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    {"$defs": {"a/b": {"$ref": "#/$defs/a~1b"}}, "type": "object"},
    {"type": "object", "properties": {"a": {"$ref": "#/properties/a"}}},
    {"type": "array", "items": {"anyOf": [{"$ref": "#/items"}, {"$ref": "#/items/anyOf/0"}]}},
)
FINE = (
    {"type": "object", "properties": {"a": {"$ref": "#"}}},
    {
        "$defs": {"tree": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
        "$ref": "#/$defs/tree",
    },
    {"anyOf": [{"type": "null"}, {"type": "array", "items": {"$ref": "#"}}]},
    {"allOf": [{"type": "object"}, {"properties": {"a": {"$ref": "#"}}}]},
    {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"type": "string"}}, "$ref": "#/$defs/a"},
    {"$ref": "#/nowhere"},
    {"$ref": "https://example.org/schema"},
    True,
    {},
)


def bodies(schema: object) -> dict[str, dict[str, object]]:
    function = {"name": "f", "parameters": schema}
    return {
        "response_format": {"response_format": {"json_schema": {"name": "x", "schema": schema}}},
        "structured_outputs": {"structured_outputs": {"json": schema}},
        "text": {"text": {"format": {"type": "json_schema", "schema": schema}}},
        "tools": {"tools": [{"type": "function", "function": function}]},
    }


@pytest.mark.parametrize("schema", ENDLESS, ids=str)
def test_a_schema_that_refers_to_itself_alone_is_refused_wherever_it_stands(schema):
    for param, body in bodies(schema).items():
        with pytest.raises(InvalidRequest, match="refers to itself") as caught:
            check_schemas(body)
        assert caught.value.param == param
    as_text = {"structured_outputs": {"json": json.dumps(schema)}}
    with pytest.raises(InvalidRequest):
        check_schemas(as_text)


@pytest.mark.parametrize("schema", FINE, ids=str)
def test_other_schemas_pass(schema):
    for body in bodies(schema).values():
        check_schemas(body)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"response_format": None, "tools": None, "structured_outputs": "x", "text": 3},
        {"tools": [None, {"function": 3}, {}]},
        {"structured_outputs": {"json": "{"}},
        {"response_format": {"json_schema": {"schema": "[" * 100_000}}},
    ],
    ids=str,
)
def test_what_is_no_schema_is_left_to_vllm(body):
    check_schemas(body)


def test_long_chains_and_deep_nesting_are_walked():
    chain = {f"a{n}": {"$ref": f"#/$defs/a{n + 1}"} for n in range(20_000)}
    check_schemas(bodies({"$defs": {**chain, "a20000": {}}, "$ref": "#/$defs/a0"})["text"])
    endless = bodies({"$defs": {**chain, "a20000": {"$ref": "#/$defs/a0"}}})["text"]
    with pytest.raises(InvalidRequest):
        check_schemas(endless)
    deep: dict[str, object] = {}
    for _ in range(50_000):
        deep = {"items": deep}
    check_schemas(bodies(deep)["text"])
