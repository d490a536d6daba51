"""Null is absent, but in what is the client's own document."""

import pytest

from server.edge.body.nulls import DEPTH, DOCUMENTS, without_nulls


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ({"n": None}, {}),
        ({"a": 1, "n": None}, {"a": 1}),
        ({"stream_options": {"include_usage": None}}, {"stream_options": {}}),
        ({"messages": [{"content": "x", "name": None}]}, {"messages": [{"content": "x"}]}),
        ({"tools": [{"function": {"strict": None}}]}, {"tools": [{"function": {}}]}),
        ({"stop": [None, "x"]}, {"stop": [None, "x"]}),
        ({"prompt": [1, 2]}, {"prompt": [1, 2]}),
        ({"a": [[{"b": None}]]}, {"a": [[{}]]}),
        ({"zero": 0, "no": False, "empty": ""}, {"zero": 0, "no": False, "empty": ""}),
    ],
)
def test_fields_that_are_null_go(given, left):
    assert without_nulls(given) == left


@pytest.mark.parametrize("field", sorted(DOCUMENTS))
def test_documents_stay(field):
    document = {"default": None, "enum": [None, {"const": None}]}
    assert without_nulls({"a": {field: document}}) == {"a": {field: document}}
    assert without_nulls({field: None}) == {}


def test_how_deep_it_looks_is_bounded():
    deep: object = {"end": None}
    for _ in range(DEPTH + 500):
        deep = {"a": deep}
    found = without_nulls(deep)
    for _ in range(DEPTH + 500):
        found = found["a"]
    assert found == {"end": None}
