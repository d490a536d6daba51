"""JSON schemas that refer to themselves before they have said anything: no text can ever fit them.

    {"$ref": "#"}                           the value is: the value
    {"anyOf": [{"$ref": "#/$defs/a"}]} …    all ways of saying it lead back

The engine cannot begin an answer to such a schema, and says so as a fault of its own. A schema that
refers to itself from within an object or a list, as that of a tree does, is none of them.
"""

import json
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Final

from server.errors import InvalidRequest

_ALTERNATIVES: Final = ("anyOf", "oneOf")


def check_schemas(body: Mapping[str, Any]) -> None:
    """Let a body through whose answer can begin.

    Raises:
        InvalidRequest: a schema that refers to itself alone.
    """
    for param, schema in _schemas(body):
        if not _can_be_said(schema):
            raise InvalidRequest(
                f"the JSON schema in '{param}' refers to itself before it says what a value is, so "
                "that no answer can fit it; give what it refers to a type",
                param=param,
            )


def _schemas(body: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every schema that an answer may be held to, with where it stands."""
    for path in (
        ("response_format", "json_schema", "schema"),
        ("structured_outputs", "json"),
        ("text", "format", "schema"),
    ):
        found: Any = body
        for key in path:
            found = found.get(key) if isinstance(found, Mapping) else None
        yield path[0], _parsed(found)
    tools = body.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, Mapping):
            of = tool.get("function")
            yield "tools", (of if isinstance(of, Mapping) else tool).get("parameters")


def _parsed(schema: object) -> object:
    """A schema that is given as a text, too; what is none is left for vLLM to refuse."""
    if not isinstance(schema, str):
        return schema
    try:
        return json.loads(schema)
    except (ValueError, RecursionError):
        return None


def _can_be_said(root: object) -> bool:
    """Whether every schema within one leads to some value; linear in its size."""
    places = _places(root)
    groups = {number: _leads_to(one, root) for number, one in places.items()}
    needs = {number: len(of) for number, of in groups.items()}
    # A group is settled by any of its members, a place by all of its groups.
    asked_by: dict[int, list[tuple[int, int]]] = {}
    for number, of in groups.items():
        for place, group in enumerate(of):
            for target in group:
                asked_by.setdefault(id(target), []).append((number, place))
    settled = deque(number for number, count in needs.items() if not count)
    left = len(places) - len(settled)
    met: set[tuple[int, int]] = set()
    while settled:
        fresh = set(asked_by.get(settled.popleft(), ())) - met
        met |= fresh
        for number, _ in fresh:
            needs[number] -= 1
            if not needs[number]:
                left -= 1
                settled.append(number)
    return not left


def _places(root: object) -> dict[int, Mapping[str, Any]]:
    """Every object within a schema, by its identity."""
    places: dict[int, Mapping[str, Any]] = {}
    waiting: list[object] = [root]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Mapping) and id(one) not in places:
            places[id(one)] = one
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
    return places


def _leads_to(schema: Mapping[str, Any], root: object) -> list[list[Mapping[str, Any]]]:
    """Groups of schemas of which some member of each has to lead to a value."""
    if isinstance(schema.get("$ref"), str):
        target = _target(schema["$ref"], root)
        return [[target]] if target is not None else []
    groups = [_schemas_in(schema.get(key)) for key in _ALTERNATIVES]
    groups += [[part] for part in _schemas_in(schema.get("allOf"))]
    return [group for group in groups if group]


def _schemas_in(value: object) -> list[Mapping[str, Any]]:
    """The schemas of a list; none if one of them is a plain true or false."""
    found = value if isinstance(value, list) else []
    return found if all(isinstance(one, Mapping) for one in found) else []


def _target(reference: str, root: object) -> Mapping[str, Any] | None:
    """What a reference within the schema stands for; None if it is none."""
    if not reference.startswith("#"):
        return None
    found: object = root
    for part in reference[1:].split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, Mapping) and key in found:
            found = found[key]
        elif isinstance(found, list) and key.isdecimal() and int(key) < len(found):
            found = found[int(key)]
        else:
            return None
    return found if isinstance(found, Mapping) else None
