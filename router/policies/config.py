"""Policies as configuration: the file ``policies.yaml``, and a request's changes to a policy.

A policy is read from a mapping, strictly: an unknown key is an error that says which keys there
are. Faults of a file carry their line.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from adapters.names import NAME_PATTERN, RESERVED_NAMES
from router.errors import InvalidPolicy, Problem, listed
from router.fault_words import what_is_wrong
from router.mixture import Combination
from router.policies import POLICIES, PolicyConfig
from router.policies.extent import check_extent, short
from router.policies.options import (
    NAME_RULE,
    Candidates,
    EncoderChoice,
    Name,
    Scope,
    Window,
    WindowField,
)
from router.policies.yaml_lines import LineMap, read_yaml

DEFAULT_POLICIES = Path(__file__).with_name("policies.yaml")
DEFAULT_POLICY = "auto"

PRESETS = Path(__file__).with_name("presets")
"""Files of policies for known methods, which are named without their folder and ending."""

OWN_FAULTS = frozenset({"value_error", "meaningless_option"})
"""Faults whose message is ours and already names the value."""

MAX_FAULTS = 100
"""Of one policy; whoever has mended those will hear of the others."""

Location = tuple[str | int, ...]


class RoutingOverrides(BaseModel):
    """What one request changes of its policy. What is left out, or null, stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    scope: Scope | None = None
    stride: int | None = None
    top_k: int | None = None
    min_weight: float | None = None
    temperature: float | None = None
    max_temperature: float | None = None
    base_share: float | None = None
    threshold: float | None = None
    fallback: Name | None = None
    candidates: Candidates | None = None
    window: WindowField | None = None
    combination: Combination | None = None
    encoder: EncoderChoice | None = None


def default_policies() -> dict[str, PolicyConfig]:
    """The policies that come with the router."""
    return load_policies(DEFAULT_POLICIES)


def load_policies(path: Path) -> dict[str, PolicyConfig]:
    """The policies of a file, or of a bundled preset such as ``lori``, by name.

    Raises:
        InvalidPolicy: the file cannot be read, or something in it is wrong; all faults are named,
            each with its line and field.
    """
    path = _preset(path) or path
    content, lines = read_yaml(path)
    problems: list[Problem] = []
    policies: dict[str, PolicyConfig] = {}
    for name, raw in _entries(content, problems).items():
        try:
            policies[name] = parse_policy(name, raw)
        except InvalidPolicy as err:
            problems.extend(err.problems)
    if problems:
        placed = [Problem(p.field, p.message, lines.line_of(p.field)) for p in problems]
        raise InvalidPolicy(sorted(placed, key=lambda p: p.line or 0), source=path.name)
    return policies


def _preset(path: Path) -> Path | None:
    """The bundled file of a bare name, unless there is a file of that name."""
    bundled = PRESETS / f"{path}.yaml"
    bare = path.parent == Path() and not path.exists()
    return bundled if bare and bundled.is_file() else None


def parse_policy(name: str, raw: object, at: Location | None = None) -> PolicyConfig:
    """One policy from plain values.

    Args:
        name: what requests will call it.
        raw: its options.
        at: where they stand, for the field of an error; ``policies.NAME`` by default.

    Raises:
        InvalidPolicy: with a field such as ``policies.auto.top_k``.
    """
    check_policy_name(name, ("name",) if at is not None else None)
    at = ("policies", name) if at is None else at
    if not isinstance(raw, Mapping):
        raise InvalidPolicy([_problem(at, "must be a mapping of options, beginning with 'kind'")])
    check_extent(raw, at)
    return _validated(raw, at)


def check_policy_name(name: str, at: Location | None = None) -> None:
    """Let a usable name through.

    Args:
        name: the name.
        at: where it stands, for the field of an error; ``policies.NAME`` by default.

    Raises:
        InvalidPolicy: the name has a wrong form, or means something else.
    """
    at = ("policies", name) if at is None else at
    if not NAME_PATTERN.fullmatch(name):
        raise InvalidPolicy([_problem(at, f"a policy's name must be {NAME_RULE}")])
    if name in RESERVED_NAMES:
        raise InvalidPolicy([_problem(at, f"{name!r} is reserved; choose another name")])


def parse_overrides(raw: object) -> RoutingOverrides:
    """A request's changes from plain values.

    Raises:
        InvalidPolicy: with a field such as ``routing.top_k``.
    """
    if isinstance(raw, Mapping):
        check_extent(raw, ("routing",))
    try:
        return RoutingOverrides.model_validate(raw)
    except ValidationError as err:
        raise InvalidPolicy(_problems(err, ("routing",), RoutingOverrides)) from err


def overridden(policy: PolicyConfig, overrides: RoutingOverrides) -> PolicyConfig:
    """The policy with a request's changes; its version tells it from the policy unchanged.

    Raises:
        InvalidPolicy: with a field such as ``routing.top_k``: a value is out of range, or the
            policy's kind has no such option.
    """
    changes = overrides.model_dump(exclude_none=True)
    if not changes:
        return policy
    return _validated(
        {**policy.model_dump(exclude_unset=True), "kind": policy.kind, **changes}, ("routing",)
    )


def _entries(content: object, problems: list[Problem]) -> dict[str, Any]:
    if not isinstance(content, Mapping) or not isinstance(content.get("policies"), Mapping):
        problems.append(Problem("", "the file must hold one mapping 'policies', name by name"))
        return {}
    problems.extend(
        _problem((str(key),), "unknown key; the file holds only 'policies'")
        for key in content
        if key != "policies"
    )
    if not content["policies"]:
        problems.append(_problem(("policies",), "there must be at least one policy"))
    return {str(name): raw for name, raw in content["policies"].items()}


def _validated(raw: Mapping[Any, Any], at: Location) -> PolicyConfig:
    kind = raw.get("kind")
    model = POLICIES.get(kind) if isinstance(kind, str) else None
    if model is None:
        fault = "is missing" if kind is None else f"{kind!r} is unknown"
        raise InvalidPolicy([_problem((*at, "kind"), f"{fault}; known kinds: {listed(POLICIES)}")])
    try:
        return model.model_validate(dict(raw))
    except ValidationError as err:
        raise InvalidPolicy(_problems(err, at, model, kind)) from err


def _problems(
    err: ValidationError, at: Location, model: type[BaseModel], kind: object = None
) -> list[Problem]:
    return [
        _problem((*at, *_location(fault)), _message(fault, model, kind))
        for fault in islice(err.errors(), MAX_FAULTS)
    ]


def _location(fault: Mapping[str, Any]) -> Location:
    """Where a fault is: at a key itself, or at the option that a policy as a whole refuses."""
    location = tuple(part for part in fault["loc"] if part != "[key]")
    is_whole = fault["type"] == "meaningless_option"
    return (*location, fault["ctx"]["option"]) if is_whole else location


def _message(fault: Mapping[str, Any], model: type[BaseModel], kind: object) -> str:
    kind_of_fault, given = fault["type"], _shown(fault["input"])
    if kind_of_fault == "extra_forbidden":
        return _unknown_key(str(short(fault["loc"][-1])), fault["loc"], model, kind)
    if kind_of_fault == "string_pattern_mismatch":
        return f"a name must be {NAME_RULE} (got {given})"
    if kind_of_fault == "string_type":
        return f"must be text; put it in quotes (got {given})"
    if kind_of_fault == "missing":
        return "is missing"
    if kind_of_fault in OWN_FAULTS:
        message = str(fault["msg"]).removeprefix("Value error, ")
        return message[0].lower() + message[1:]
    return f"{what_is_wrong(fault) or 'has no sensible value'} (got {given})"


def _unknown_key(key: str, loc: Location, model: type[BaseModel], kind: object) -> str:
    known: Iterable[str] = model.model_fields
    if loc[0] == "candidates":
        known = Candidates.model_fields
    elif loc[0] == "window":
        known = Window.model_fields
    near = get_close_matches(key, known)
    hint = f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(known)}"
    of_kind = f" of kind {kind!r}" if kind and len(loc) == 1 else ""
    return f"there is no option {key!r}{of_kind}{hint}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _problem(location: Iterable[str | int], message: str) -> Problem:
    return Problem(LineMap.path(short(part) for part in location), message)
