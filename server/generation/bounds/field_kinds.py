"""Fields that vLLM takes apart before it has looked what they hold: they must hold that."""

from collections.abc import Mapping
from typing import Any, Final

from server.errors import InvalidRequest

_OBJECTS: Final = frozenset({"structured_outputs", "response_format", "stream_options"})
_LISTS: Final = frozenset({"messages", "tools"})
"""Lists of objects."""


def check_kinds(body: Mapping[str, Any]) -> None:
    """Let a body through whose fields are of the kinds that vLLM takes them for.

    Raises:
        InvalidRequest: a field is of another kind.
    """
    for field in _OBJECTS & body.keys():
        _check(isinstance(body[field], Mapping), field, "an object")
    for field in _LISTS & body.keys():
        _check(isinstance(body[field], list), field, "a list")
        for number, one in enumerate(body[field]):
            _check(isinstance(one, Mapping), f"{field}.{number}", "an object")
            _check_function(one, f"{field}.{number}")
    choice = body.get("tool_choice")
    _check(
        choice is None or isinstance(choice, str | Mapping), "tool_choice", "a text or an object"
    )
    if isinstance(choice, Mapping):
        _check_function(choice, "tool_choice")


def _check_function(given: Mapping[str, Any], at: str) -> None:
    if "function" in given:
        _check(isinstance(given["function"], Mapping), f"{at}.function", "an object")


def _check(is_right: bool, field: str, kind: str) -> None:
    if not is_right:
        raise InvalidRequest(f"'{field}' must be {kind}", param=field)
