"""What a passed field may ask for is bounded, wherever and however it is said."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest

from server.engine.structured.settings import StructuredOutputSettings
from server.errors import InvalidRequest
from server.generation.bounds.field_bounds import check_bounds

MOST = StructuredOutputSettings(
    max_bytes=2000,
    max_tools=3,
    max_tools_bytes=2000,
    max_depth=20,
    max_properties=10,
    max_alternatives=12,
    max_regex_size=50,
    max_rules=5,
    max_stop_texts=5,
    max_entries=6,
    max_token_ids=7,
    max_options_bytes=300,
)


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


SCHEMAS: dict[str, dict[str, Any]] = {
    "bytes": {"type": "string", "description": "x" * 2100},
    "levels": nested(11),
    "properties": {"type": "object", "properties": {f"p{n}": True for n in range(11)}},
    "properties of two": {
        "$defs": {f"d{n}": {} for n in range(6)},
        "properties": {f"p{n}": {} for n in range(6)},
    },
    "definitions": {"definitions": {f"d{n}": {} for n in range(11)}},
    "values": {"enum": [str(n) for n in range(13)]},
    "values of two": {"anyOf": [{"enum": [1] * 6}, {"enum": [2] * 6}]},
    "ways": {"anyOf": [{"type": "null"}] * 13},
    "items": {"type": "array", "prefixItems": [{}] * 13},
    "a pattern": {"type": "string", "pattern": "[a-z]{1,51}"},
    "a pattern of two steps": {"type": "string", "pattern": "(a{1,8}){1,8}"},
    "a pattern of names": {"type": "object", "patternProperties": {"a{60}": {}}},
    "a pattern of ways": {"type": "string", "pattern": "a" + "|b" * 13},
    "a deep pattern": {"items": {"items": {"pattern": "a{1,1000}"}}},
}


def with_schema(schema: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """A schema in each field that takes one, by the field."""
    function = {"name": "f", "parameters": schema}
    tag = {"begin": "<f>", "schema": schema, "end": "</f>"}
    legacy = {"type": "structural_tag", "structures": [tag], "triggers": ["<f"]}
    content = {"type": "json_schema", "json_schema": schema}
    return {
        "response_format": {"response_format": {"json_schema": {"name": "x", "schema": schema}}},
        "response_format of a tag": {"response_format": legacy},
        "response_format of a format": {
            "response_format": {"type": "structural_tag", "format": content}
        },
        "structured_outputs": {"structured_outputs": {"json": schema}},
        "structured_outputs in text": {"structured_outputs": {"json": json.dumps(schema)}},
        "structured_outputs of a tag": {"structured_outputs": {"structural_tag": legacy}},
        "structured_outputs of a tag in text": {
            "structured_outputs": {"structural_tag": json.dumps(legacy)}
        },
        "text": {"text": {"format": {"type": "json_schema", "name": "x", "schema": schema}}},
        "tools": {"tools": [{"type": "function", "function": function}]},
        "tools of a response": {"tools": [{"type": "function", **function}]},
        "tool_choice": {"tool_choice": {"type": "allowed_tools", "tools": [function]}},
    }


@pytest.mark.parametrize("fault", SCHEMAS)
def test_a_schema_past_a_bound_is_refused_wherever_it_stands(fault):
    for where, body in with_schema(SCHEMAS[fault]).items():
        with pytest.raises(InvalidRequest) as caught:
            check_bounds(body, MOST)
        assert caught.value.param == where.split()[0]
        assert f"'{where.split()[0]}' has" in str(caught.value)
        check_bounds(body, StructuredOutputSettings())  # the defaults take them all


CONSTRAINTS: dict[str, dict[str, Any]] = {
    "choice": {"choice": ["a"] * 13},
    "choice of bytes": {"choice": ["ä" * 1000]},
    "regex": {"regex": "[a-z]{1,60}"},
    "regex of a repeated group": {"regex": "(?:[a-z]{1,10} ){1,10}"},
    "regex of length": {"regex": "a" * 51},
    "regex of ways": {"regex": "a|" * 13},
    "whitespace": {"json": {}, "whitespace_pattern": " {0,51}"},
    "grammar of rules": {"grammar": "\n".join(f'r{n} ::= "a"' for n in range(6))},
    "grammar of Lark rules": {"grammar": "\n".join(f'?r{n}: "a"' for n in range(6))},
    "grammar of ways": {"grammar": "root ::= a" + " | a" * 13},
    "grammar of repetitions": {"grammar": "root ::= [a-z]{1,10000}"},
    "grammar of spaced repetitions": {"grammar": "root ::= [a-z]{ 1 , 10000 }"},
    "grammar of Lark repetitions": {"grammar": 'start: "a" ~ 1..10000'},
    "grammar of bytes": {"grammar": "root ::= " + '"a" ' * 1000},
}


@pytest.mark.parametrize("fault", CONSTRAINTS)
def test_a_constraint_past_a_bound_is_refused(fault):
    with pytest.raises(InvalidRequest, match="'structured_outputs' has") as caught:
        check_bounds({"structured_outputs": CONSTRAINTS[fault]}, MOST)
    assert caught.value.param == "structured_outputs"


@pytest.mark.parametrize("syntax", ["regex", "grammar"])
def test_the_grammar_of_a_tool_is_bounded(syntax):
    definition = "root ::= [a-z]{1,10000}"
    tool = {"type": "custom", "name": "t", "format": {"syntax": syntax, "definition": definition}}
    for body in ({"tools": [tool]}, {"tools": [{"type": "custom", "custom": tool}]}):
        with pytest.raises(InvalidRequest, match="'tools' has 10000 repetitions"):
            check_bounds(body, MOST)


OTHERS: dict[str, dict[str, Any]] = {
    "stop": {"stop": ["a"] * 6},
    "stop of bytes": {"stop": "a" * 400},
    "stop_token_ids": {"stop_token_ids": [1] * 7},
    "bad_words": {"bad_words": ["a"] * 6},
    "bad_words of bytes": {"bad_words": ["a" * 400]},
    "logit_bias": {"logit_bias": {str(n): 1 for n in range(7)}},
    "allowed_token_ids": {"allowed_token_ids": [1] * 8},
    "logprob_token_ids": {"logprob_token_ids": [1] * 8},
    "chat_template_kwargs": {"chat_template_kwargs": {"a": ["b"] * 100}},
    "mm_processor_kwargs": {"mm_processor_kwargs": {"a": "b" * 400}},
    "media_io_kwargs": {"media_io_kwargs": {"a": {"b": "c" * 400}}},
    "vllm_xargs": {"vllm_xargs": {"a": list(range(200))}},
    "tools": {"tools": [{}] * 4},
}


@pytest.mark.parametrize("fault", OTHERS)
def test_other_fields_past_a_bound_are_refused(fault):
    field = fault.split()[0]
    with pytest.raises(InvalidRequest, match=rf"'{field}' has \d+ \w+; at most \d+ are") as caught:
        check_bounds(OTHERS[fault], MOST)
    assert caught.value.param == field


def test_what_is_at_its_bound_passes():
    ways = {"enum": [1] * 9, "pattern": "[a-z]{1,49}b|"}
    for body in with_schema(ways).values():
        check_bounds(body, MOST)
    for body in with_schema({"properties": {f"p{n}": {} for n in range(10)}}).values():
        check_bounds(body, MOST)
    rules = "\n".join(f'r{n} ::= "a"{{1,50}}' for n in range(5))
    check_bounds({"structured_outputs": {"grammar": rules}}, MOST)
    check_bounds({"stop": ["a"] * 5, "bad_words": ["a"] * 5, "stop_token_ids": [1] * 6}, MOST)
    check_bounds({"logit_bias": {str(n): 1 for n in range(6)}, "tools": [{}] * 3}, MOST)
    check_bounds({"allowed_token_ids": [1] * 7, "logprob_token_ids": [1] * 7}, MOST)


def test_texts_that_are_no_json_and_other_kinds_are_left_to_who_reads_them():
    for value in ("{", 3, None, [], ["x"], {"json": "{"}, {"choice": "abc"}, {"regex": 3}):
        check_bounds({"structured_outputs": value, "tools": value, "text": value}, MOST)


@pytest.mark.parametrize("text", ["{ ", "{1", "~ ", "1" * 9, "\n", " \t", "a.", "{,", "|", "a :"])
def test_reading_a_grammar_never_goes_back(text):
    """It is linear in what the default takes, or this would never end."""
    many = {"grammar": text * (60_000 // len(text))}
    with suppress(InvalidRequest):
        check_bounds({"structured_outputs": many}, StructuredOutputSettings())
