"""The keys of a recipe, as ``loralloy train METHOD --help`` prints it."""

import json
import textwrap
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from adapters.training.methods.method import Method
from adapters.training.plan.keys import keys_of

INDENT = 24
WIDTH = 100


def described_keys(method: Method[Any]) -> str:
    """A line for each key that a method takes, or a few: its default, and what it means."""
    return "\n".join(
        _line(_with_default(key, field), _meaning(field)) for key, field in keys_of(method).items()
    )


def _with_default(key: str, field: FieldInfo) -> str:
    if field.is_required() or field.default is None:
        return key
    return f"{key}={_shown(field.default)}"


def _shown(value: object) -> str:
    """As YAML has it."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return value if isinstance(value, str) else json.dumps(value)


def _meaning(field: FieldInfo) -> str:
    meaning = field.description or ""
    if get_origin(field.annotation) is Literal:
        return f"{' or '.join(get_args(field.annotation))}: {meaning}"
    return meaning


def _line(key: str, meaning: str) -> str:
    room = INDENT - 4
    begin = f"  {key:{room}}  " if len(key) <= room else f"  {key}\n{' ' * INDENT}"
    text = textwrap.wrap(meaning, WIDTH - INDENT, break_long_words=False)
    return begin + f"\n{' ' * INDENT}".join(text)
