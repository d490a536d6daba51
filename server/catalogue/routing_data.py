"""What the router may know of an adapter, as it comes with an upload or lies beside an adapter.

Beside an adapter it is ``router.json``, as ``router.fit`` writes it. With an upload it is form
fields: ``examples`` (texts), ``description``, ``centroids`` (lists of numbers; ``centroid`` where
there is one) and ``encoder`` (the name of the encoder that made them).
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import UnionType
from typing import Any

from adapters.adapter import Adapter, RoutingData
from adapters.errors import InvalidRouting
from adapters.files import ROUTING_FILE
from adapters.format.strict_json import parse_json_object
from adapters.limits import Limits
from adapters.routing_data import (
    CENTROID_FIELDS,
    Vectors,
    check_centroid_count,
    check_example_count,
    check_texts,
    parse_vectors,
)
from router.centroids.centroid import Vector, centroid_of
from router.encoders import Encoder
from router.errors import RoutingError
from router.fit import read_fitted

logger = logging.getLogger(__name__)

_LIMITS = Limits()

RoutingFields = Mapping[str, bytes | str | list[Any] | None]
"""Fields of a request by their names, as a form or as JSON has them."""

_KINDS: Mapping[str, tuple[type | UnionType, str]] = {
    "examples": (str | list, "a text or a list of texts"),
    "description": (str, "a text"),
    **dict.fromkeys(CENTROID_FIELDS, (list, "a list")),
    "encoder": (str, "a text"),
}
_TEXT_KEYS = ("text", "prompt", "instruction", "input", "question")


def read_routing(folder: Path) -> RoutingData | None:
    """The routing data beside an adapter; None if there are none.

    Raises:
        InvalidCentroid: the file says something else.
    """
    path = folder / ROUTING_FILE
    return read_fitted(path) if path.is_file() else None


def usable_centroids(adapter: Adapter, encoder: Encoder) -> Vector | None:
    """What the router scores an adapter by; None, and a warning, if its data are no use now."""
    try:
        return centroid_of(encoder, adapter.routing)
    except RoutingError as error:
        logger.warning("adapter %s is not routed to: %s", adapter.name, error)
        return None


def parse_routing(
    fields: RoutingFields, encoder: str, limits: Limits = _LIMITS
) -> RoutingData | None:
    """The routing data of a request, within the limits; None if it has none.

    Args:
        fields: ``examples``, ``description``, ``centroids`` or ``centroid``, ``encoder``; each may
            be absent, None or empty. Examples are a list, or a text: JSON lines, a JSON list, plain
            lines. Centroids are a list of numbers, or of such lists, or its JSON. Bytes are a text
            in UTF-8.
        encoder: the name of the encoder that centroids without one are taken to be of.
        limits: how much is read: sizes and numbers are judged before what they are of.

    Raises:
        InvalidRouting: one of them cannot be read or used, or they are too many.
    """
    _check_sizes(fields, limits)
    values = _values(fields, limits)
    given = [field for field in CENTROID_FIELDS if field in values]
    if len(given) > 1:
        raise InvalidRouting("give either 'centroids' or 'centroid'", "centroid")
    if not given and "examples" not in values and "description" not in values:
        return None
    listed = values.get("examples", [])
    check_example_count(len(listed), limits)
    examples = [_example(item, number) for number, item in enumerate(listed)]
    routing = RoutingData(tuple(examples), values.get("description"))
    for field in given:
        vectors = _vectors(field, values[field], limits)
        routing = replace(routing, centroids=vectors, encoder=values.get("encoder", encoder))
    check_texts(routing, limits)
    return routing


def changed_routing(
    before: RoutingData, fields: RoutingFields, encoder: str, limits: Limits = _LIMITS
) -> RoutingData:
    """Routing data of which some are given anew, and the others stay.

    Centroids that are not given stay only if nothing that they are measured from has changed: the
    examples, or without any the description. Otherwise there are none, and they are to be measured.

    Args:
        before: what there was.
        fields: as for :func:`parse_routing`; an empty one takes away what there was.
        encoder: as there.
        limits: as there.

    Raises:
        InvalidRouting: one of them cannot be read or used, or they are too many.
    """
    given = parse_routing(fields, encoder, limits) or RoutingData()
    if "encoder" in fields and not given.centroids:
        raise InvalidRouting(
            "'encoder' names what made the 'centroids', but there are none; give both", "encoder"
        )
    examples = given.examples if "examples" in fields else before.examples
    description = given.description if "description" in fields else before.description
    routing = RoutingData(examples, description, given.centroids, given.encoder)
    measures = {"examples", *CENTROID_FIELDS} | (set() if examples else {"description"})
    if given.centroids or measures & fields.keys():
        return routing
    return replace(routing, centroids=before.centroids, encoder=before.encoder)


def check_json_fields(body: Mapping[str, Any]) -> None:
    """Let the fields of a JSON object through that have the right type; null takes one away.

    Args:
        body: none but ``ROUTING_FIELDS``.

    Raises:
        InvalidRouting: one has a wrong type.
    """
    for name, value in body.items():
        kinds, wanted = _KINDS[name]
        if value is not None and not isinstance(value, kinds):
            raise InvalidRouting(f"'{name}' must be {wanted}, or null", name)


def parse_examples(text: str, limits: Limits = _LIMITS) -> list[str]:
    """Example texts: a JSON list, JSON lines (strings or objects with a text), or plain lines.

    Raises:
        InvalidRouting: a line of JSON holds no text, or there are too many.
    """
    if text.startswith("["):
        listed = _json_list("examples", text)
        check_example_count(len(listed), limits)
        return [_example(item, number) for number, item in enumerate(listed)]
    # Not splitlines: JSON strings may hold other line separators, such as U+2028, as they are.
    lines = [line.removesuffix("\r") for line in text.split("\n") if line.strip()]
    check_example_count(len(lines), limits)
    if not text.startswith(("{", '"')):
        return lines
    return [_example(_json_line(line, number), number) for number, line in enumerate(lines)]


def _example(item: object, number: int) -> str:
    if isinstance(item, str):
        return item
    if isinstance(item, Mapping):
        texts = [item[key] for key in _TEXT_KEYS if isinstance(item.get(key), str)]
        if texts:
            return "\n".join(texts)
    raise InvalidRouting(
        f"example {number + 1} must be a text, or an object with one of {', '.join(_TEXT_KEYS)}",
        "examples",
    )


def _json_line(line: str, number: int) -> object:
    if line.lstrip().startswith("{"):
        return parse_json_object(line.encode(), f"example {number + 1}")
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        raise InvalidRouting(f"example {number + 1} is not valid JSON", "examples") from None


def _json_list(field: str, text: str) -> list[Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidRouting(f"'{field}' is not valid JSON", field) from None
    if not isinstance(value, list):
        raise InvalidRouting(f"'{field}' must be a JSON list", field)
    return value


def _vectors(field: str, value: object, limits: Limits) -> Vectors:
    if isinstance(value, list) and value and isinstance(value[0], list):
        check_centroid_count(len(value), limits)
    try:
        return parse_vectors(value)
    except ValueError:
        raise InvalidRouting(
            f"'{field}' must be a list of numbers, or of such lists", field
        ) from None


def _check_sizes(fields: RoutingFields, limits: Limits) -> None:
    """Judge the fields that are still to be read; of a list, the body's size was judged."""
    size = sum(len(raw) for raw in fields.values() if isinstance(raw, bytes | str))
    if size > limits.max_routing_bytes:
        raise InvalidRouting(
            f"the routing data have {size} bytes; {limits.max_routing_bytes} are taken at most",
            max(fields, key=lambda name: len(fields[name] or "")),
        )


def _values(fields: RoutingFields, limits: Limits) -> dict[str, Any]:
    """What the fields hold, as lists and texts; without those that are empty."""
    read = {name: _value(name, raw, limits) for name, raw in fields.items()}
    return {name: value for name, value in read.items() if value is not None}


def _value(
    name: str, raw: bytes | str | list[Any] | None, limits: Limits
) -> str | list[Any] | None:
    if raw is None or isinstance(raw, list):
        return raw
    text = (_utf8(name, raw) if isinstance(raw, bytes) else raw).strip()
    if not text:
        return None
    if name == "examples":
        return parse_examples(text, limits)
    return _json_list(name, text) if name in CENTROID_FIELDS else text


def _utf8(name: str, raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidRouting(f"'{name}' is not UTF-8 text", name) from None
