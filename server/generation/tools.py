"""The tools of a request, so that the arguments of every call are a JSON object by their schema.

The engine holds each call to its tool's schema, whether the tool says ``strict`` or not
(``server.engine.vllm_serving``). A schema that allows more than objects, or none at all, would
still let a number or a text through; what OpenAI says of ``parameters`` is made of it here: an
object, and without parameters an empty one.
"""

from collections.abc import Mapping
from typing import Any, Final

from adapters.errors import shown
from server.errors import InvalidRequest

NO_PARAMETERS: Final[Mapping[str, Any]] = {"type": "object", "properties": {}}

_MAX_REFERENCES: Final = 64
_ALTERNATIVES: Final = ("anyOf", "oneOf")


def with_object_schemas(tools: object) -> object:
    """The tools of a body, each function's parameters the schema of an object.

    Args:
        tools: what a chat or a response has as ``tools``. What is no tool is left to the engine,
            which says what is wrong with it.

    Raises:
        InvalidRequest: parameters that allow anything but objects.
    """
    if not isinstance(tools, list):
        return tools
    return [_with_object_schema(tool, f"tools[{number}]") for number, tool in enumerate(tools)]


def _with_object_schema(tool: object, param: str) -> object:
    if not isinstance(tool, Mapping) or tool.get("type") != "function":
        return tool
    function = tool.get("function")
    if isinstance(function, Mapping):  # a chat's; a response has the same without this layer
        return {**tool, "function": _described(function, f"{param}.function.parameters")}
    return _described(tool, f"{param}.parameters") if "name" in tool else tool


def _described(function: Mapping[str, Any], param: str) -> dict[str, Any]:
    given = function.get("parameters")
    if given is None:
        return {**function, "parameters": dict(NO_PARAMETERS)}
    if not isinstance(given, Mapping):
        return dict(function)
    schema = {"type": "object", **given}
    if not _allows_objects_alone(schema, schema):
        raise InvalidRequest(
            f"'{param}' must be the JSON schema of an object, as the arguments of a call are one: "
            f"{{'type': 'object', 'properties': …}}, not of type {shown(given.get('type'))}",
            param=param,
        )
    return {**function, "parameters": schema}


def _allows_objects_alone(schema: object, root: Mapping[str, Any], depth: int = 0) -> bool:
    """Whether a grammar made of a schema lets nothing through but objects.

    A grammar goes by a reference, a constant or alternatives where there are any, and by the type
    otherwise.
    """
    if not isinstance(schema, Mapping) or depth > _MAX_REFERENCES:
        return False
    if "$ref" in schema:
        return _allows_objects_alone(_referred(schema["$ref"], root), root, depth + 1)
    if "const" in schema:
        return isinstance(schema["const"], Mapping)
    if "enum" in schema:
        values = schema["enum"]
        return isinstance(values, list) and all(isinstance(one, Mapping) for one in values)
    for word in _ALTERNATIVES:
        if word in schema:
            ways = schema[word]
            return isinstance(ways, list) and all(
                _allows_objects_alone(way, root, depth + 1) for way in ways
            )
    if "allOf" in schema and isinstance(schema["allOf"], list) and len(schema["allOf"]) == 1:
        return _allows_objects_alone(schema["allOf"][0], root, depth + 1)
    return schema.get("type") == "object"


def _referred(reference: object, root: Mapping[str, Any]) -> object:
    """What a reference within a schema stands for; None where it leads nowhere.

    Escapes (``~1``) are not read, as in the library that makes the grammar.
    """
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    found: object = root
    for step in reference.removeprefix("#").removeprefix("/").split("/"):
        if step:
            found = found.get(step) if isinstance(found, Mapping) else None
    return found
