"""Which keys a recipe may have: those of every job and recipe, and the method's own."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic.fields import FieldInfo

from adapters.training.errors import TrainingError
from adapters.training.job import Job
from adapters.training.methods import METHODS, method_of
from adapters.training.methods.method import Method
from adapters.training.recipe import Recipe

COMMON = Job.model_fields | Recipe.model_fields


def keys_of(method: Method[Any]) -> dict[str, FieldInfo]:
    """The keys that mean something to a method, with what they hold."""
    every = COMMON | method.keys.model_fields
    return {key: field for key, field in every.items() if key not in method.refused}


def check_keys(method: Method[Any], shared: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Refuse keys that do not exist, and those that the method has no use for.

    Args:
        method: how is trained.
        shared: what is written down for all methods, this one's use or not.
        own: what is written down for this method; nothing counts as not written.

    Raises:
        TrainingError: the first such key, with the reason.
    """
    mine = keys_of(method)
    for key in [*shared, *own]:
        if key not in mine and not (key in COMMON or _owners(key)):
            raise TrainingError(f"a recipe has no key {key!r}; {_hint(str(key), mine)}")
    for key, value in own.items():
        if key not in mine and value is not None:
            reason = method.refused.get(key) or f"only {_owners(key)} trains by it"
            raise TrainingError(f"{key}: {reason}, so {method.name} does not take it")


def _owners(key: str) -> str:
    """The methods that have a key of their own of this name."""
    return " or ".join(name for name in METHODS if key in method_of(name).keys.model_fields)


def _hint(key: str, known: Iterable[str]) -> str:
    near = get_close_matches(key, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
