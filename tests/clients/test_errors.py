"""The client's errors are the server's: one class a code, of the same name, under its status."""

import json
import pickle

import httpx
import pytest

from adapters import errors as adapter_errors
from loralloy_client import APIError, LoralloyError, errors
from loralloy_client._replies import BY_CODE, BY_STATUS, error_in_stream, failure_in
from loralloy_client.errors import (
    BodyTooLarge,
    InvalidRequest,
    NotFound,
    RankTooLarge,
    TooLarge,
    UnexpectedAnswer,
)
from router import errors as router_errors
from server import errors as server_errors
from server.edge.errors import error_status
from server.engine import errors as engine_errors

MODULES = (adapter_errors, router_errors, server_errors, engine_errors)
# What docs/api.md says of them: roots that nothing raises, and what only ends a start or a command.
NEVER_SENT = {
    *(adapter_errors.AdapterError, router_errors.RoutingError, server_errors.ServerError),
    server_errors.InvalidSettings,
    engine_errors.EngineStartError,
    adapter_errors.UnsupportedBaseModel,
}
SENT = [
    kind
    for module in MODULES
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Exception) and kind not in NEVER_SENT
]
# Of no class of the server: errors of vLLM and of unknown routes.
FOREIGN = {*error_status._FOREIGN_CODES.values(), "context_length_exceeded", "internal_error"}


def tree(root: type) -> list[type]:
    return [root, *(sub for child in root.__subclasses__() for sub in tree(child))]


def answer(status: int, content: object = None, **headers: str) -> httpx.Response:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return httpx.Response(status, content=body, headers=headers)


@pytest.mark.parametrize("kind", SENT, ids=lambda kind: kind.__name__)
def test_every_error_of_the_server_has_its_class(kind):
    assert kind.code in BY_CODE, f"the client lacks {kind.code}"
    ours = BY_CODE[kind.code]
    assert ours.__name__ == kind.__name__
    status, _ = error_status.status_of(kind.__new__(kind))
    assert issubclass(ours, BY_STATUS[status])


@pytest.mark.parametrize("kind", SENT, ids=lambda kind: kind.__name__)
def test_a_class_has_the_ancestors_of_the_servers_one(kind):
    for ancestor in kind.__mro__[1:]:
        if ancestor in SENT and ancestor is not engine_errors.EngineError:
            assert issubclass(BY_CODE[kind.code], BY_CODE[ancestor.code])


def test_no_code_is_missing_and_none_is_stale():
    assert set(BY_CODE) == {kind.code for kind in SENT} | FOREIGN


@pytest.mark.parametrize(("status", "code"), error_status._FOREIGN_CODES.items())
def test_foreign_errors_have_the_class_of_their_status(status, code):
    assert issubclass(BY_CODE[code], BY_STATUS[status])


@pytest.mark.parametrize("kind", SENT, ids=lambda kind: kind.__name__)
def test_what_the_server_answers_is_raised(kind):
    error = kind.__new__(kind)
    Exception.__init__(error, "it is wrong")
    error.param, error.retry_after = "name", 7
    sent = error_status.error_response(error)
    failure = failure_in(answer(sent.status_code, bytes(sent.body), **dict(sent.headers)))
    assert type(failure) is BY_CODE[kind.code]
    assert (failure.message, failure.param, failure.code) == ("it is wrong", "name", kind.code)
    assert (failure.status, failure.retry_after) == (sent.status_code, 7)
    assert failure.type in error_status.TYPES


def test_an_unknown_code_falls_back_by_status():
    body = {"error": {"message": "m", "type": "t", "param": "p", "code": "brand_new"}}
    failure = failure_in(answer(404, body, **{"X-Request-Id": "r1"}))
    assert type(failure) is NotFound
    assert (failure.code, failure.param, failure.type) == ("brand_new", "p", "t")
    assert (failure.status, failure.request_id) == (404, "r1")
    assert str(failure) == "m (brand_new)"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (418, InvalidRequest),
        (502, errors.ServerFailed),
        (503, errors.Unavailable),
        (429, errors.Overloaded),
        (302, UnexpectedAnswer),
    ],
)
@pytest.mark.parametrize("content", [b"", b"<html>", b"[1]", b'{"error": "x"}', b"\xff"])
def test_answers_of_others_are_told_by_status(status, kind, content):
    failure = failure_in(answer(status, content))
    assert type(failure) is kind
    assert str(status) in failure.message


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("3", 3.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("soon", None),
        ("Wed, 21 Oct 2015 07:28:00", None),
        ("-1", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header, expected):
    failure = failure_in(answer(503, b"", **{"Retry-After": header}))
    assert failure.retry_after == expected


def test_an_error_in_a_stream_has_no_status():
    failure = error_in_stream({"message": "m", "code": "engine_failed", "type": "x"}, "r1")
    assert type(failure) is errors.EngineUnavailable
    assert (failure.status, failure.request_id) == (None, "r1")
    assert type(error_in_stream({"type": "invalid_request_error"}, None)) is InvalidRequest
    assert type(error_in_stream("odd", None)) is errors.ServerFailed


@pytest.mark.parametrize("kind", tree(LoralloyError), ids=lambda kind: kind.__name__)
def test_errors_survive_pickling(kind):
    error = kind("m", param="p", status=400, request_id="r", retry_after=1.0)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert vars(again) == vars(error)


def test_an_adapter_that_is_too_large_is_a_body_that_is_too_large():
    assert issubclass(TooLarge, BodyTooLarge)
    assert issubclass(RankTooLarge, InvalidRequest)
    assert all(issubclass(kind, APIError) for kind in BY_CODE.values())


def test_every_class_can_be_imported_from_the_package():
    assert set(errors.__all__) == {kind.__name__ for kind in tree(LoralloyError)}
