"""A list's check ends at its first fault, and no other fault is missed."""

from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, ValidationError

from server.edge.errors.first_faults import stop_at_first_faults


class Item(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    type: list[int] = []
    default: list[int] = []


class Given(BaseModel):
    items: list[Item | list[int]]
    pairs: tuple[int, ...] = ()
    names: set[str] = set()
    inner: dict[str, list[Item]] = {}
    number: int


def validator(stops: bool) -> Any:
    """What FastAPI holds bodies to."""
    app = FastAPI()

    @app.post("/")
    async def take(body: Given) -> None: ...

    (route,) = [one for one in app.router.routes if isinstance(one, APIRoute)]
    if stops:
        stop_at_first_faults(route)
    return route.dependant.body_params[0]._type_adapter


def faults(body: dict[str, Any], *, stops: bool = True) -> list[dict[str, Any]]:
    with pytest.raises(ValidationError) as raised:
        validator(stops).validate_python(body)
    return raised.value.errors(include_url=False)


MANY = 500


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("items", [{}] * MANY),
        ("items", [{"name": "a", "type": ["x"] * MANY}]),
        ("items", [{"name": "a", "default": ["x"] * MANY}]),
        ("items", [["x"] * MANY] * MANY),
        ("pairs", ["x"] * MANY),
        ("names", list(range(MANY))),
        ("inner", {"a": [{}] * MANY}),
    ],
)
def test_a_list_of_faults_is_short(field, value):
    body = {"items": [], "number": 1, field: value}
    assert len(faults(body, stops=False)) >= MANY
    assert 1 <= len(faults(body)) < 5


def test_every_field_is_still_looked_at():
    told = faults({"items": [{"name": 1}], "pairs": ["x"], "number": "x"})
    assert {fault["loc"][0] for fault in told} == {"items", "pairs", "number"}


def test_what_is_right_is_read_alike():
    body = {"items": [{"name": "a"}, [1, 2]], "pairs": [1], "inner": {"a": [{"name": "b"}]}}
    for one in (body, {**body, "names": ["x"]}):
        given = {**one, "number": "3"}
        read = [validator(stops).validate_python(given) for stops in (True, False)]
        assert read[0].model_dump() == read[1].model_dump()
