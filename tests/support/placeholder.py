"""Bodies that name an adapter as NAME, wherever it stands in them."""

from typing import Any


def named(value: Any, name: str) -> Any:
    """The value with NAME replaced, keys and inner values too."""
    if isinstance(value, str):
        return value.replace("NAME", name)
    if isinstance(value, dict):
        return {named(key, name): named(inner, name) for key, inner in value.items()}
    return [named(inner, name) for inner in value] if isinstance(value, list) else value
