import json

import pytest

from adapters.adapter import RoutingData
from adapters.errors import InvalidAdapter, InvalidRouting
from router.errors import InvalidCentroid
from server.catalogue.routing_data import (
    check_json_fields,
    parse_examples,
    parse_routing,
    read_routing,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one\n\n two\n", ["one", " two"]),
        ('["one", "two"]', ["one", "two"]),
        ('"one"\n"two"', ["one", "two"]),
        ('{"text": "one"}\n{"prompt": "two", "extra": 1}', ["one", "two"]),
        ('{"instruction": "add", "input": "1 2"}', ["add\n1 2"]),
        ('[{"question": "why?"}]', ["why?"]),
    ],
)
def test_examples_come_in_many_forms(text, expected):
    assert parse_examples(text) == expected


@pytest.mark.parametrize(
    "text", ['{"a": 1}', "[1]", '"one', "{", "[", "[" * 100_000, '"one"\n3', '{"text": 3}']
)
def test_examples_that_hold_no_text_are_told(text):
    with pytest.raises(InvalidAdapter):
        parse_examples(text)


def test_an_upload_without_routing_data_has_none():
    assert parse_routing({}, "enc") is None
    assert parse_routing({"examples": b" \n", "description": b""}, "enc") is None


def test_an_upload_brings_what_it_has():
    fields = {"examples": b"one\ntwo", "description": b" sums ", "centroid": b"[1, 0.5]"}
    assert parse_routing(fields, "enc") == RoutingData(("one", "two"), "sums", ((1.0, 0.5),), "enc")
    fields["encoder"] = b"other"
    assert parse_routing(fields, "enc").encoder == "other"


@pytest.mark.parametrize("field", ["centroid", "centroids"])
def test_an_upload_may_bring_several_centroids(field):
    several = parse_routing({field: b"[[1, 0.5], [0, 2]]"}, "enc")
    assert several == RoutingData(centroids=((1.0, 0.5), (0.0, 2.0)), encoder="enc")


@pytest.mark.parametrize(
    "fields",
    [
        {"centroid": b"[1]", "centroids": b"[[1]]"},
        {"centroids": b"[]"},
        {"centroids": b"[[1], 2]"},
        {"centroids": b"[[[1]]]"},
        {"centroid": b"{}"},
        {"centroid": b"[1, null]"},
        {"centroid": b"[true]"},
        {"centroid": b'["1"]'},
        {"centroid": b"[" + b"9" * 400 + b"]"},
        {"centroid": b"nope"},
        {"examples": b"\xff"},
        {"description": b"\xff\xfe"},
    ],
)
def test_routing_data_that_cannot_be_read_are_told(fields):
    with pytest.raises(InvalidRouting):
        parse_routing(fields, "enc")


@pytest.mark.parametrize(
    ("of_json", "of_a_form"),
    [
        ({"examples": ["one", {"text": "two"}]}, {"examples": b'["one", {"text": "two"}]'}),
        ({"examples": " one\n two "}, {"examples": b" one\n two "}),
        ({"examples": []}, {"examples": b"[]"}),
        ({"description": " sums ", "encoder": "other"}, {"description": b" sums "}),
        ({"description": None, "examples": None}, {"description": b"", "examples": b" "}),
        ({"description": " "}, {}),
        ({"centroid": [1, 0.5]}, {"centroid": b"[1, 0.5]"}),
        (
            {"centroids": [[1], [2]], "encoder": " e "},
            {"centroids": b"[[1], [2]]", "encoder": b"e"},
        ),
        ({"centroids": [[1]], "encoder": None}, {"centroids": b"[[1]]", "encoder": b" "}),
    ],
)
def test_json_and_a_form_say_the_same(of_json, of_a_form):
    check_json_fields(of_json)
    assert parse_routing(of_json, "enc") == parse_routing(of_a_form, "enc")


@pytest.mark.parametrize(
    "body",
    [
        {"examples": {"text": "one"}},
        {"examples": 1},
        {"description": ["one"]},
        {"centroids": "[[1]]"},
        {"centroid": {}},
        {"encoder": 1},
    ],
)
def test_a_field_of_json_has_the_right_type(body):
    with pytest.raises(InvalidRouting, match="or null"):
        check_json_fields(body)


@pytest.mark.parametrize(
    "fields", [{"examples": [1]}, {"centroids": []}, {"centroids": [[1], 2]}, {"centroid": [True]}]
)
def test_values_of_json_that_cannot_be_read_are_told(fields):
    with pytest.raises(InvalidRouting):
        parse_routing(fields, "enc")


def test_a_folder_may_bring_its_own(tmp_path):
    assert read_routing(tmp_path) is None
    document = {"description": "sums", "centroid": [1, 0], "encoder": "enc", "count": 3}
    (tmp_path / "router.json").write_text(json.dumps(document))
    assert read_routing(tmp_path) == RoutingData((), "sums", ((1.0, 0.0),), "enc")


def test_a_folder_may_bring_several_centroids(tmp_path):
    document = {"centroids": [[1, 0], [0, 2]], "encoder": "enc"}
    (tmp_path / "router.json").write_text(json.dumps(document))
    expected = RoutingData(centroids=((1.0, 0.0), (0.0, 2.0)), encoder="enc")
    assert read_routing(tmp_path) == expected


@pytest.mark.parametrize("text", ["[]", "{", "{}", '{"centroid": "x", "encoder": "e"}'])
def test_a_folder_that_brings_something_else_is_told(tmp_path, text):
    (tmp_path / "router.json").write_text(text)
    with pytest.raises(InvalidCentroid):
        read_routing(tmp_path)
