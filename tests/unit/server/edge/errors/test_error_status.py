import json

import pytest

from adapters import errors as adapter_errors
from router import errors as router_errors
from server import errors
from server.edge.errors import error_status
from server.edge.errors.error_status import STATUS, TYPES, error_response, status_of, translate_body
from server.engine.errors import EngineError

ROOTS = (errors.ServerError, adapter_errors.AdapterError, router_errors.RoutingError, EngineError)


def tree(root: type[Exception]) -> list[type[Exception]]:
    return [root, *(sub for child in root.__subclasses__() for sub in tree(child))]


# The trainers' and benchmarks' own errors never reach a request.
ELSEWHERE = ("adapters.training.", "adapters.merging.", "benchmarks.")
EVERY = [
    cls for root in ROOTS for cls in tree(root) if not f"{cls.__module__}.".startswith(ELSEWHERE)
]


@pytest.mark.parametrize("cls", EVERY, ids=lambda cls: cls.__name__)
def test_every_error_is_mapped_on_purpose(cls):
    entry = next(ancestor for ancestor in cls.__mro__ if ancestor in STATUS)
    assert cls in ROOTS or entry not in ROOTS, f"{cls.__name__} would fall through to its root"
    status, kind = STATUS[entry]
    assert 400 <= status <= 599
    assert kind in TYPES
    assert (kind == error_status.SERVER) == (status >= 500)


@pytest.mark.parametrize("cls", EVERY, ids=lambda cls: cls.__name__)
def test_every_code_is_a_stable_word_of_its_own(cls):
    assert cls.code == cls.code.lower().replace(" ", "_")
    assert cls.code.isascii()
    twins = [c for c in EVERY if c.code == cls.code and c is not cls]
    assert not twins


def body_of(response) -> dict:
    return json.loads(response.body)["error"]


def test_our_errors_keep_message_code_param_and_retry():
    response = error_response(errors.InvalidWeight("too big", param="mixture.adapters.a"))
    assert response.status_code == 400
    assert body_of(response) == {
        "message": "too big",
        "type": "invalid_request_error",
        "param": "mixture.adapters.a",
        "code": "weight_invalid",
    }
    busy = error_response(errors.AdaptersBusy("full", retry_after=7))
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "7")
    refused = error_response(errors.Unauthorized("no"))
    assert refused.headers["www-authenticate"] == "Bearer"


def test_unexpected_errors_tell_nothing():
    response = error_response(RuntimeError("secret at /srv/data/x"))
    assert response.status_code == 500
    assert "secret" not in response.body.decode()
    assert body_of(response)["code"] == "internal_error"
    assert status_of(KeyError()) == (500, "server_error")


@pytest.mark.parametrize(
    ("status", "foreign", "code", "told"),
    [
        (404, {"detail": "Not Found"}, "not_found", "Not Found"),
        (405, {"detail": "Method Not Allowed"}, "method_not_allowed", "Method"),
        (
            400,
            {"error": {"message": "Input length (9) exceeds model's context length (8)."}},
            "context_length_exceeded",
            "the prompt has 9 tokens; prompt and answer together can have 8",
        ),
        (
            404,
            {"error": {"message": "no", "code": 404, "param": "model", "type": "NotFoundError"}},
            "model_not_found",
            "no",
        ),
        (500, {"error": {"message": "KeyError: x", "code": 500}}, "internal_error", "log"),
        (503, {"error": {"message": "queue full", "code": 503}}, "overloaded", "queue full"),
        (
            400,
            {"error": {"message": "no good. (parameter=x, value=1)", "param": "x"}},
            "invalid_request",
            "no good.",
        ),
        (400, {"error": "a string"}, "invalid_request", "a string"),
        (400, [1], "invalid_request", "Bad Request"),
    ],
)
def test_foreign_errors_get_our_shape(status, foreign, code, told):
    error = json.loads(translate_body(json.dumps(foreign).encode(), status))["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code
    assert told in error["message"]
    assert "parameter=" not in error["message"]


def test_no_path_of_the_server_passes():
    foreign = {"error": {"message": "cannot read /opt/place/model.bin, see /v1/models"}}
    error = json.loads(translate_body(json.dumps(foreign).encode(), 400))["error"]
    assert error["message"] == "cannot read <path>, see /v1/models"


@pytest.mark.parametrize("body", [b"", b"Internal Server Error", b"\xff", b'{"a":'])
def test_bodies_that_are_no_json_get_our_shape_too(body):
    error = json.loads(translate_body(body, 500))["error"]
    assert error["code"] == "internal_error"


def test_our_own_envelope_passes_unchanged():
    body = error_response(errors.ModelNotFound("none", param="model")).body
    assert json.loads(translate_body(body, 404)) == json.loads(body)
