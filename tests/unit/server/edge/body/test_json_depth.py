"""Whatever is read can be written anew, wherever it is called from; what is too deep is told so."""

import json

import pytest

from server.edge.body.json_body import parse_object
from server.edge.body.json_depth import MOST
from server.edge.body.nulls import without_nulls
from server.errors import MalformedJson


def nested(levels: int, opening: str, closing: str) -> bytes:
    """An object of so many levels."""
    inner = opening * (levels - 1) + "1" + closing * (levels - 1)
    return f'{{"a": {inner}}}'.encode()


def deeper(levels: int, work) -> object:
    """Call it so much deeper in the stack."""
    return work() if levels == 0 else deeper(levels - 1, work)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":[', "]}]")])
def test_what_is_read_can_be_written_anew_and_the_rest_is_refused(opening, closing):
    for levels in (*range(1, MOST // 3, 7), *range(MOST + 1, 1200)):
        raw = nested(levels, opening, closing)
        if levels > MOST:
            with pytest.raises(MalformedJson, match="nested too deeply"):
                parse_object(raw)
        else:
            assert deeper(100, lambda raw=raw: written(parse_object(raw))) == json.loads(raw)


def written(value: dict) -> object:
    """A value after it was written anew."""
    return json.loads(json.dumps(without_nulls(value)))


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_the_bound_is_exact(opening, closing):
    assert parse_object(nested(MOST, opening, closing))
    with pytest.raises(MalformedJson, match="nested too deeply"):
        parse_object(nested(MOST + 1, opening, closing))


def test_what_is_broad_is_not_deep():
    wide = {"a": [[] for _ in range(10 * MOST)], "b": "[" * 10 * MOST, "c": [{}] * MOST}
    assert parse_object(json.dumps(wide).encode()) == wide
