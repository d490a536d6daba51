"""What is wrong with a body, by pydantic's list of faults: told in our words, field by field.

Nothing of the body is echoed, and nothing of how pydantic names its own parts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from router.fault_words import what_is_wrong
from server.edge.errors.engine_words import reworded

_MOST = 3
"""Fields that are told; a body can be wrong in thousands."""
_DEPTH = 4
_INTERNAL_MARKS = ("[", "(", "{")
_TYPE_NAMES = frozenset({"str", "int", "float", "bool", "bytes", "list", "dict", "none"})
_PLACES = frozenset({"body", "query", "path", "header"})


def sentence_of(faults: Sequence[Mapping[str, Any]]) -> tuple[str, str | None]:
    """The first faults in one line, and the field of the first.

    Args:
        faults: as ``ValidationError.errors`` lists them, at least one.
    """
    by_field: dict[str | None, list[str]] = {}
    for fault in faults:
        by_field.setdefault(_field(fault), []).append(_wrong(fault))
    told = [_told(field, wrong) for field, wrong in by_field.items()]
    told = list(dict.fromkeys(told))
    more = len(told) - _MOST
    sentence = "; ".join(told[:_MOST]) + (f"; and {more} more" if more > 0 else "")
    return sentence, next(iter(by_field))


def _told(field: str | None, wrong: Sequence[str]) -> str:
    """One field's faults; those of the kinds of value that it may have are alternatives."""
    kinds = [one.removeprefix("must be ") for one in wrong if one.startswith("must be ")]
    others = [one for one in wrong if not one.startswith("must be ")]
    if kinds:
        others = ["must be " + " or ".join(dict.fromkeys(kinds))]
    what = others[0]
    if what.startswith(_WHOLE):
        return what.removeprefix(_WHOLE)
    return f"the body {what}" if field is None else f"'{field}' {what}"


_WHOLE = "\N{NULL}"
"""Begins what is a sentence of its own, with the field in it."""


def _wrong(fault: Mapping[str, Any]) -> str:
    """What is wrong, to be said after the field's name."""
    kind, context = str(fault.get("type")), fault.get("ctx") or {}
    if kind == "extra_forbidden":
        return "is no field that is known here"
    if kind in ("value_error", "assertion_error") and context.get("error"):
        return _WHOLE + reworded(str(context["error"]), _field(fault))
    return what_is_wrong(fault) or "has no sensible value"


def _field(fault: Mapping[str, Any]) -> str | None:
    """The field at fault, as ``messages.0.content``; what pydantic adds of its own is cut off."""
    context = fault.get("ctx")
    if isinstance(context, Mapping):
        named = getattr(context.get("error"), "parameter", None)
        if isinstance(named, str):
            return named
    location = fault.get("loc")
    way = list(location) if isinstance(location, tuple | list) else []
    # The last step to a field that is not known is the body's own word, whatever it looks like.
    own = [str(way.pop())[:64]] if way and fault.get("type") == "extra_forbidden" else []
    parts: list[str] = []
    for part in way:
        if isinstance(part, str) and (
            part in _TYPE_NAMES
            or any(mark in part for mark in _INTERNAL_MARKS)
            or (part[:1].isupper() and not parts)
        ):
            continue
        if part not in _PLACES or parts:
            parts.append(str(part)[:64])
    return ".".join([*_without_models(parts), *own][:_DEPTH]) or None


def _without_models(parts: Sequence[str]) -> list[str]:
    """Without the names of classes and kinds, by which pydantic tells a union's members apart."""
    return [part for part in parts if not part[:1].isupper() and "-" not in part]
