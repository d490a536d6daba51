"""What is wrong with a value, by the kinds of fault that pydantic knows: in our words."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

_LONGEST_LIST = 200

_KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "a text": ("string_type", "string_unicode", "string_sub_type"),
    "a whole number": ("int_type", "int_parsing", "int_parsing_size", "int_from_float"),
    "a number": ("float_type", "float_parsing", "decimal_type", "decimal_parsing"),
    "a finite number": ("finite_number",),
    "true or false": ("bool_type", "bool_parsing"),
    "a list": ("list_type", "tuple_type", "set_type", "frozen_set_type", "iterable_type"),
    "an object": (
        *("dict_type", "mapping_type", "model_type", "model_attributes_type"),
        "dataclass_type",
    ),
}
"""What a value must be → the faults of one that is not."""

_MUST_BE: Final = {fault: kind for kind, faults in _KINDS.items() for fault in faults}

_BY_RULE: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "missing": lambda told: "is missing",
    "greater_than": lambda told: f"must be more than {_plain(told['gt'])}",
    "greater_than_equal": lambda told: f"must be at least {_plain(told['ge'])}",
    "less_than": lambda told: f"must be less than {_plain(told['lt'])}",
    "less_than_equal": lambda told: f"must be at most {_plain(told['le'])}",
    "string_too_short": lambda told: (
        f"must have at least {_counted(told['min_length'], 'character')}"
    ),
    "string_too_long": lambda told: (
        f"must have at most {_counted(told['max_length'], 'character')}"
    ),
    "too_short": lambda told: f"must have at least {_counted(told['min_length'], 'item')}",
    "too_long": lambda told: f"must have at most {_counted(told['max_length'], 'item')}",
    "literal_error": lambda told: f"must be {_listed(told['expected'])}",
    "enum": lambda told: f"must be {_listed(told['expected'])}",
    "union_tag_invalid": lambda told: (
        f"must have {_listed(told['expected_tags'])} as {told['discriminator']}"
    ),
    "union_tag_not_found": lambda told: f"lacks {told['discriminator']}",
}


def what_is_wrong(fault: Mapping[str, Any]) -> str | None:
    """What is wrong, to be said after the field's name; None for a fault of another kind.

    Args:
        fault: one of those that ``ValidationError.errors`` lists.
    """
    kind = str(fault.get("type"))
    if kind in _MUST_BE:
        return f"must be {_MUST_BE[kind]}"
    if kind in _BY_RULE:
        return _BY_RULE[kind](fault.get("ctx") or {})
    return None


def _listed(given: object) -> str:
    return str(given)[:_LONGEST_LIST]


def _counted(number: object, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _plain(number: object) -> str:
    """A number without an exponent, and without zeros that say nothing."""
    text = format(Decimal(str(number)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
