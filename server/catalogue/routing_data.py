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
from typing import Any

from adapters.adapter import Adapter, RoutingData
from adapters.errors import InvalidRouting
from adapters.format.strict_json import parse_json_object
from adapters.routing_data import Vectors, parse_vectors
from router.centroids.centroid import Vector, centroid_of
from router.encoders import Encoder
from router.errors import RoutingError
from router.fit import read_fitted

logger = logging.getLogger(__name__)

ROUTING_FILE = "router.json"
CENTROID_FIELDS = ("centroids", "centroid")
ROUTING_FIELDS = ("examples", "description", *CENTROID_FIELDS, "encoder")
_TEXTS = frozenset({"examples", "description", "encoder"})
_TEXT_KEYS = ("text", "prompt", "instruction", "input", "question")


def read_routing(folder: Path) -> RoutingData | None:
    """The routing data beside an adapter; None if there are none.

    Raises:
        InvalidCentroid: the file says something else.
    """
    path = folder / ROUTING_FILE
    return read_fitted(path) if path.is_file() else None


def measured(routing: RoutingData | None, encoder: Encoder) -> RoutingData | None:
    """Routing data with the centroids that they amount to; None for none.

    Raises:
        RoutingError: they cannot be used with this encoder.
    """
    centroids = None if routing is None else centroid_of(encoder, routing)
    if routing is None or centroids is None:
        return routing
    rows = tuple(map(tuple, centroids.tolist()))
    return replace(routing, centroids=rows, encoder=encoder.space.name)


def usable_centroids(adapter: Adapter, encoder: Encoder) -> Vector | None:
    """What the router scores an adapter by; None, and a warning, if its data are no use now."""
    try:
        return centroid_of(encoder, adapter.routing)
    except RoutingError as error:
        logger.warning("adapter %s is not routed to: %s", adapter.name, error)
        return None


def parse_routing(fields: Mapping[str, bytes], encoder: str) -> RoutingData | None:
    """The routing data of an upload; None if it has none.

    Args:
        fields: ``examples`` (JSON lines, a JSON list, or plain lines), ``description``,
            ``centroids`` or ``centroid`` (a JSON list of numbers, or of such lists), ``encoder``;
            each may be absent or empty.
        encoder: the name of the encoder that centroids without one are taken to be of.

    Raises:
        InvalidRouting: one of them cannot be read.
    """
    texts = {name: _utf8(name, raw).strip() for name, raw in fields.items() if raw.strip()}
    document: dict[str, Any] = {}
    if "examples" in texts:
        document["examples"] = parse_examples(texts["examples"])
    if "description" in texts:
        document["description"] = texts["description"]
    given = [field for field in CENTROID_FIELDS if field in texts]
    if len(given) > 1:
        raise InvalidRouting("give either 'centroids' or 'centroid'", "centroid")
    for field in given:
        document["centroids"] = _vectors(field, texts[field])
        document["encoder"] = texts.get("encoder", encoder)
    return _routing(document) if document else None


def changed_routing(before: RoutingData, fields: Mapping[str, bytes], encoder: str) -> RoutingData:
    """Routing data of which some are given anew, and the others stay.

    Centroids that are not given stay only if nothing that they are measured from has changed: the
    examples, or without any the description. Otherwise there are none, and they are to be measured.

    Args:
        before: what there was.
        fields: as for :func:`parse_routing`; an empty one takes away what there was.
        encoder: as there.

    Raises:
        InvalidRouting: one of them cannot be read.
    """
    given = parse_routing(fields, encoder) or RoutingData()
    if "encoder" in fields and not given.centroids:
        raise InvalidRouting("'encoder' says which one made 'centroids', but none came", "encoder")
    examples = given.examples if "examples" in fields else before.examples
    description = given.description if "description" in fields else before.description
    told = RoutingData(examples, description, given.centroids, given.encoder)
    measures = {"examples", *CENTROID_FIELDS} | (set() if examples else {"description"})
    if given.centroids or measures & fields.keys():
        return told
    return replace(told, centroids=before.centroids, encoder=before.encoder)


def fields_of(body: Mapping[str, Any]) -> dict[str, bytes]:
    """The fields of a JSON object, as a form has them; null takes away what there was.

    Raises:
        InvalidRouting: one has a wrong type.
    """
    fields: dict[str, bytes] = {}
    for name, value in body.items():
        if isinstance(value, list) and name in ("examples", *CENTROID_FIELDS):
            fields[name] = json.dumps(value).encode()
        elif value is None or (isinstance(value, str) and name in _TEXTS):
            fields[name] = (value or "").encode()
        else:
            wanted = "a text" if name in _TEXTS else "a list"
            raise InvalidRouting(f"'{name}' must be {wanted}, or null", name)
    return fields


def parse_examples(text: str) -> list[str]:
    """Example texts: a JSON list, JSON lines (strings or objects with a text), or plain lines.

    Raises:
        InvalidRouting: a line of JSON holds no text.
    """
    if text.startswith("["):
        return [_example(item, number) for number, item in enumerate(_json_list("examples", text))]
    lines = [line for line in text.splitlines() if line.strip()]
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


def _vectors(field: str, text: str) -> Vectors:
    try:
        return parse_vectors(_json_list(field, text))
    except ValueError:
        raise InvalidRouting(
            f"'{field}' must be a list of numbers, or of such lists", field
        ) from None


def _routing(document: Mapping[str, Any]) -> RoutingData:
    examples, centroids = document.get("examples") or (), document.get("centroids", ())
    description, encoder = document.get("description"), document.get("encoder")
    if not isinstance(examples, list | tuple) or not all(isinstance(e, str) for e in examples):
        raise InvalidRouting("'examples' must be texts", "examples")
    for name, value in (("description", description), ("encoder", encoder)):
        if value is not None and not isinstance(value, str):
            raise InvalidRouting(f"'{name}' must be a text", name)
    return RoutingData(tuple(examples), description, centroids, encoder)


def _utf8(name: str, raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidRouting(f"'{name}' is not UTF-8 text", name) from None
