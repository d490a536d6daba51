"""A list's check ends at its first fault: who sends 500 wrong items is told of one of them.

pydantic names every fault of every item, for each of the kinds that an item may be of. Where there
are 30 kinds, as in the input of ``/v1/responses``, 512 empty objects have 120,000 faults, and
writing them down keeps the event loop for seconds.
"""

from typing import Any, Final

from fastapi.routing import APIRoute
from pydantic_core import SchemaValidator

_LISTS: Final = frozenset({"list", "tuple", "set", "frozenset"})
"""What pydantic calls the schemas of lists, all of which know ``fail_fast``."""


def stop_at_first_faults(route: APIRoute) -> None:
    """Let a route check the lists of its body only so far.

    Args:
        route: one with a body; FastAPI keeps a validator for it, which is replaced.
    """
    for field in route.dependant.body_params:
        adapter = field._type_adapter
        # A model's own validator would be taken as it is, were its schema not built anew.
        adapter.validator = SchemaValidator(_failing_fast(adapter.core_schema), _use_prebuilt=False)


def _failing_fast(schema: Any) -> Any:  # noqa: ANN401 - pydantic's schemas are nested dicts
    """A schema whose lists end at their first fault."""
    if isinstance(schema, dict):
        inner = {
            name: one if name == "default" and not _is_schema(one) else _failing_fast(one)
            for name, one in schema.items()
        }
        kind = schema.get("type")  # among a model's fields one may be called so
        return {**inner, "fail_fast": True} if isinstance(kind, str) and kind in _LISTS else inner
    if isinstance(schema, list):
        return [_failing_fast(one) for one in schema]
    if isinstance(schema, tuple):
        return tuple(_failing_fast(one) for one in schema)
    return schema


def _is_schema(value: object) -> bool:
    """Whether it is the schema of a field called ``default``, not what one has by default."""
    return isinstance(value, dict) and isinstance(value.get("type"), str)
