"""The engine's routes read the body that was checked, however the client wrote it."""

import json
from typing import get_args

import pytest
from pydantic import BaseModel

from server.app import OWN_MODULES
from server.edge.errors.validation_faults import sentence_of
from tests.unit.server.without_engine.conftest import HIDDEN, SEEN
from tests.unit.server.without_engine.test_one_reading_of_a_path import BODIES

JSON = "application/json"
TYPES = [
    *(JSON, "Application/JSON", "APPLICATION/JSON; Charset=UTF-16", f"{JSON};charset=utf-7"),
    *(f" {JSON} ", f"{JSON} ;x", f"{JSON}; boundary=json", f"{JSON};{JSON}"),
]
OTHER_TYPES = [
    *("", "text/json", "application/x-json", "application/jsonp", "text/plain", "multipart/json"),
    *("application/vnd.api+json", f"text/plain, {JSON}", f"{JSON}, text/plain", "json", "*/*"),
    *("multipart/form-data; boundary=x", "application/x-www-form-urlencoded"),
]


def spelled(model: str, rest: dict) -> list[bytes]:
    """A body that names a model, in ways that some reader may read otherwise."""
    others = json.dumps(rest)[1:].encode()
    name, other = model.encode(), (HIDDEN if model == SEEN else SEEN).encode()
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in model).encode()
    return [
        b'{"model": "%s", %s' % (name, others),
        b'{"model": "%s", "model": "%s", %s' % (other, name, others),
        b'{"\\u006dodel": "%s", %s' % (name, others),
        b'{"model": "%s", "\\u006dodel": "%s", %s' % (other, name, others),
        b'{"model": "%s", %s' % (escaped, others),
        b'{"model": "%s", "MODEL": "%s", %s' % (name, other, others),
        b'\r\n\t {"model" :"%s", "x": {"model": "%s"}, %s' % (name, other, others),
        b'{"model": "%s", "model\\u0000": "%s", %s' % (name, other, others),
        b'{"model": "%s", %s   ' % (name, others),
    ]


@pytest.mark.parametrize("path", sorted(BODIES))
def test_the_name_that_was_checked_is_the_name_that_is_read(shared, user, path):
    for kind in TYPES:
        headers = {**user, "Content-Type": kind}
        for raw in spelled(SEEN, BODIES[path]):
            answer = shared.http.post(path, content=raw, headers=headers)
            assert (answer.status_code, answer.json()["model"]) == (200, SEEN), (kind, raw)
        for raw in spelled(HIDDEN, BODIES[path]):
            answer = shared.http.post(path, content=raw, headers=headers)
            assert answer.status_code == 404, (kind, raw)
            assert answer.json()["error"]["code"] == "model_not_found", (kind, raw)


@pytest.mark.parametrize("path", [*sorted(BODIES), "/v1/route", "/v1/imports"])
@pytest.mark.parametrize("kind", OTHER_TYPES)
def test_what_does_not_say_that_it_is_json_is_not_read_as_json(shared, path, kind):
    raw = json.dumps({"model": SEEN, **BODIES.get(path, {})}).encode()
    answer = shared.http.post(path, content=raw, headers={"Content-Type": kind})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "invalid_request")
    assert "Content-Type: application/json" in error["message"]


@pytest.mark.parametrize(
    "path",
    [
        *(*sorted(BODIES), "/v1/route", "/v1/imports", "/v1/load_lora_adapter"),
        *("/v1/unload_lora_adapter", "/v1/adapters/maths/restore"),
    ],
)
@pytest.mark.parametrize(
    "raw",
    [
        *(
            b"",
            b"{",
            b"[]",
            b'"x"',
            b"null",
            b'{"a": NaN}',
            b'{"a": Infinity}',
            b'{"a": -Infinity}',
        ),
        *(b'{"a": "\\ud800"}', b"\xff", b"[" * 50_000, b'{"a":' * 50_000, b'\xef\xbb\xbf{"a": 1}'),
        *(b'{"a": 1} x', b"{'a': 1}", b'{"a": 1,}', b'{"a": 01}', '{"a": 1}'.encode("utf-16")),
    ],
    ids=lambda raw: raw[:12].decode("latin-1"),
)
def test_what_is_no_json_object_is_refused_by_every_route_alike(shared, path, raw):
    answer = shared.http.post(path, content=raw, headers={"Content-Type": JSON})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")


def json_routes() -> list[tuple[str, type[BaseModel]]]:
    """Path and model of each of our own routes that takes JSON."""
    return [
        (route.path, route.body_field.field_info.annotation)
        for module in OWN_MODULES
        for route in module.router.routes
        if getattr(route, "body_field", None) is not None
    ]


def test_our_own_routes_with_a_model_are_these():
    assert {path for path, _ in json_routes()} == {
        *("/v1/route", "/v1/imports", "/v1/load_lora_adapter", "/v1/unload_lora_adapter"),
        "/v1/adapters/{name}/restore",
    }


OPTIONAL = [
    (path, name)
    for path, model in json_routes()
    for name, field in model.model_fields.items()
    if not field.is_required()
]
REQUIRED = [
    (path, name)
    for path, model in json_routes()
    for name, field in model.model_fields.items()
    if field.is_required()
]
GIVEN = {
    "/v1/route": {"input": "one"},
    "/v1/imports": {"name": "new", "source": "file:///x"},
    "/v1/load_lora_adapter": {"lora_name": "new", "lora_path": "x"},
    "/v1/unload_lora_adapter": {"lora_name": "nope"},
    "/v1/adapters/{name}/restore": {"digest": "0" * 8},
}
TIMES = ("encode_ms", "weigh_ms", "total_ms")


def told(server, path: str, body: dict) -> tuple[int, dict]:
    """Status and body of an answer, but for what differs at each."""
    answer = server.http.post(path.replace("{name}", SEEN), json=body)
    shown = answer.json()
    return answer.status_code, {key: one for key, one in shown.items() if key not in TIMES}


@pytest.mark.parametrize(("path", "field"), OPTIONAL)
def test_null_is_absent_in_every_field_that_may_be(shared, path, field):
    body = {key: value for key, value in GIVEN[path].items() if key != field}
    if path == "/v1/route" and field == "input":
        body = {"prompt": "one"}
    assert told(shared, path, {**body, field: None}) == told(shared, path, body)


@pytest.mark.parametrize(("path", "field"), REQUIRED)
def test_null_is_missing_in_every_field_that_must_be(shared, path, field):
    body = {key: value for key, value in GIVEN[path].items() if key != field}
    status, answer = told(shared, path, {**body, field: None})
    assert (status, answer["error"]["message"]) == (400, f"'{field}' is missing")
    assert answer["error"]["param"] == field


WRONG = [3, 1.5, -1, True, "x", "", [], [1], ["x"], {}, {"a": 1}, 10**30, "x" * 100_000]
FOREIGN = ("Input should", "Field required", "Extra inputs", "pydantic", "Value error", "valid ")
"""Pydantic's words."""


@pytest.mark.parametrize("path", GIVEN)
def test_what_is_wrong_is_told_in_our_words(shared, path):
    model = dict(json_routes())[path]
    for field in (*model.model_fields, "nope"):
        for wrong in WRONG:
            status, answer = told(shared, path, {**GIVEN[path], field: wrong})
            assert status < 500
            if status == 400:
                message = answer["error"]["message"]
                assert not [words for words in FOREIGN if words in message], message
                assert len(message) < 1000


def test_faults_of_every_kind_that_pydantic_knows_are_told_in_our_words():
    from pydantic_core.core_schema import ErrorType

    for kind in get_args(ErrorType):
        context = {
            **dict.fromkeys(("gt", "ge", "lt", "le", "min_length", "max_length"), 3),
            **dict.fromkeys(("expected", "expected_tags", "discriminator"), "'a'"),
        }
        fault = {"type": kind, "loc": ("body", "x"), "msg": "Input should be valid", "ctx": context}
        sentence, field = sentence_of([fault])
        assert field == "x"
        assert sentence.startswith("'x' ")
        assert "Input" not in sentence


@pytest.mark.parametrize(
    "query", ["limit=x", "limit=0", "limit=1.5", "limit=", "before=x", "before=-1", "limit=1001"]
)
def test_a_query_that_is_wrong_is_told_in_our_words(shared, query):
    error = shared.http.get(f"/v1/audit?{query}").json()["error"]
    assert error["code"] == "invalid_request"
    assert error["param"] in ("limit", "before")
    assert not [words for words in FOREIGN if words in error["message"]]


def test_null_takes_nothing_away_but_where_it_is_said_to(shared):
    """Describing an adapter is the one change in which null has a meaning of its own."""
    path = f"/v1/adapters/{SEEN}"
    shared.http.patch(path, json={"description": "sums"}).raise_for_status()
    changed = shared.http.patch(path, json={"description": None})
    assert changed.json()["routing"]["description"] is None


@pytest.mark.parametrize(
    "option", ["temperature", "top_k", "threshold", "fallback", "candidates", "description"]
)
def test_null_is_absent_in_a_policy(shared, option):
    plain = shared.http.put("/v1/policies/plain", json={"kind": "softmax"}).json()
    nulled = shared.http.put("/v1/policies/nulled", json={"kind": "softmax", option: None})
    assert nulled.status_code in (200, 201), nulled.text
    assert nulled.json()["version"] == plain["version"]
