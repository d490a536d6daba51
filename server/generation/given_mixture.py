"""A mixture that a body gives itself: every form of it, read strictly."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any

from adapters.errors import VersionNotFound, shown
from adapters.names import AT, plain, version_name
from router.mixture import BASE_MODEL, COMBINATIONS, Combination, Member, Mixture
from server.catalogue.names import Names
from server.errors import (
    EmptyMixture,
    InvalidMixture,
    InvalidWeight,
    ModelNotFound,
)

_LORAX_STRATEGIES: Mapping[str, Combination] = {"linear": "cat", "cat": "cat"}


def versions_named(body: Mapping[str, Any]) -> set[str]:
    """What a body may mean as ``name@digest``, in whichever field."""
    mixture, lora, merged = body.get("mixture"), body.get("lora"), body.get("merged_adapters")
    said: list[object] = [body.get("model"), body.get("adapter_id")]
    if isinstance(mixture, Mapping) and isinstance(mixture.get("adapters"), Mapping):
        said += mixture["adapters"]
    if isinstance(lora, list):
        said += [entry.get("id") for entry in lora if isinstance(entry, Mapping)]
    if isinstance(merged, Mapping) and isinstance(merged.get("ids"), list):
        said += merged["ids"]
    return {one for one in said if isinstance(one, str) and AT in one}


def _read_mixture(raw: object, names: Names) -> Mixture:
    fields = read_object(raw, "mixture", {"adapters", "combination"})
    adapters = fields.get("adapters")
    if not isinstance(adapters, Mapping):
        raise InvalidMixture(
            "'mixture.adapters' must map adapters' names to weights", param="mixture.adapters"
        )
    weights = {str(name): weight for name, weight in adapters.items()}
    places = {name: f"mixture.adapters.{name}" for name in weights}
    return _mixture(weights, places, read_combination(fields.get("combination")), names)


def _read_lora(raw: object, names: Names) -> Mixture:
    if not isinstance(raw, list):
        raise InvalidMixture("'lora' must be a list of {'id', 'scale'}", param="lora")
    weights: dict[str, object] = {}
    places: dict[str, str] = {}
    for number, item in enumerate(raw):
        place = f"lora[{number}]"
        entry = read_object(item, place, {"id", "scale"})
        name = entry.get("id")
        if not isinstance(name, str):
            raise InvalidMixture(f"'{place}.id' must be an adapter's name", param=f"{place}.id")
        if name in weights:
            raise InvalidMixture(f"adapter {shown(name)} is named twice", param=f"{place}.id")
        weights[name], places[name] = entry.get("scale", 1.0), f"{place}.scale"
    return _mixture(weights, places, "cat", names, "lora")


def _read_adapter_id(raw: object, names: Names) -> Mixture:
    if not isinstance(raw, str):
        raise InvalidMixture("'adapter_id' must be an adapter's name", param="adapter_id")
    return Mixture.of([member_named(raw, 1.0, "adapter_id", names)])


def _read_merged(raw: object, names: Names) -> Mixture:
    known = {"ids", "weights", "merge_strategy", "density", "majority_sign_method"}
    fields = read_object(raw, "merged_adapters", known)
    ids, weights = fields.get("ids"), fields.get("weights")
    if not isinstance(ids, list) or not all(isinstance(name, str) for name in ids):
        raise InvalidMixture(
            "'merged_adapters.ids' must be a list of adapters' names", param="merged_adapters.ids"
        )
    if not isinstance(weights, list) or len(weights) != len(ids):
        raise InvalidMixture(
            f"'merged_adapters.weights' must be a list of {len(ids)} weights, one for each id",
            param="merged_adapters.weights",
        )
    if len(set(ids)) < len(ids):
        raise InvalidMixture(
            "'merged_adapters.ids' names an adapter twice", param="merged_adapters.ids"
        )
    strategy = fields.get("merge_strategy", "linear")
    if not isinstance(strategy, str) or strategy not in _LORAX_STRATEGIES:
        raise InvalidMixture(
            f"the merge strategy {shown(strategy)} needs weights merged beforehand; a request can "
            "have 'linear', which is the exact weighted sum here",
            param="merged_adapters.merge_strategy",
        )
    places = {name: f"merged_adapters.weights[{number}]" for number, name in enumerate(ids)}
    combination = _LORAX_STRATEGIES[strategy]
    return _mixture(
        dict(zip(ids, weights, strict=True)), places, combination, names, "merged_adapters"
    )


def _mixture(
    weights: Mapping[str, object],
    places: Mapping[str, str],
    combination: Combination,
    names: Names,
    field: str = "mixture.adapters",
) -> Mixture:
    """Check every name and weight; ``places`` says where each weight stood."""
    if not weights:
        raise EmptyMixture(
            f"'{field}' names no adapter; for the base model alone give its name as 'model'",
            param=field,
        )
    members = [
        member_named(name, read_weight(weight, places[name]), places[name], names)
        for name, weight in weights.items()
    ]
    twice = [name for name, count in Counter(one.name for one in members).items() if count > 1]
    if twice:
        raise InvalidMixture(f"version {twice[0]!r} is named twice", param=field)
    return Mixture.of(members, combination=combination)


def member_named(name: str, weight: float, param: str, names: Names) -> Member:
    """The adapter, or the version of one, that a request names.

    Raises:
        ModelNotFound: there is no such adapter.
        VersionNotFound: the adapter has no version of that digest.
    """
    adapter, version = names.adapters.get(name), names.versions.get(name)
    if version is not None:
        return Member(version_name(version), version.digest, weight)
    if name in names.versions:
        raise VersionNotFound(
            f"there is no one version {shown(name)}; GET /v1/adapters/{plain(name)}/versions lists "
            "those that are kept, which are named by 8 characters of their digest or more",
            param,
        )
    if adapter is None:
        told = "model, adapter or policy" if param == "model" else "adapter"
        raise ModelNotFound(
            f"there is no {told} {shown(name)}; GET /v1/models lists what there is", param=param
        )
    return Member(name, adapter.digest, weight)


READERS: Mapping[str, Callable[[Any, Names], Mixture]] = {
    "mixture": _read_mixture,
    "policy": lambda raw, names: BASE_MODEL,
    "lora": _read_lora,
    "adapter_id": _read_adapter_id,
    "merged_adapters": _read_merged,
}


MAX_WEIGHT = 1000
"""Far beyond any use, and far from overflowing half precision. The router's limit too."""


def read_weight(raw: object, param: str) -> float:
    """A weight.

    Raises:
        InvalidWeight: it is no number, negative or beyond any sense.
    """
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise InvalidWeight(f"'{param}' must be a number, not {shown(raw)}", param=param)
    if not 0 <= raw <= MAX_WEIGHT:
        raise InvalidWeight(
            f"'{param}' is {shown(raw)}; a weight is a number from 0 to {MAX_WEIGHT}", param=param
        )
    return float(raw)


def read_combination(raw: object) -> Combination:
    """A combination; ``cat`` if nothing is said.

    Raises:
        InvalidMixture: there is none of that name.
    """
    for combination in COMBINATIONS:
        if raw == combination:
            return combination
    if raw is None:
        return "cat"
    raise InvalidMixture(
        f"there is no combination {shown(raw)}; there are {', '.join(COMBINATIONS)}",
        param="mixture.combination",
    )


def read_object(raw: object, place: str, known: Collection[str]) -> Mapping[str, Any]:
    """An object that has none but known fields.

    Raises:
        InvalidMixture: it is something else.
    """
    if not isinstance(raw, Mapping):
        raise InvalidMixture(f"'{place}' must be an object", param=place)
    for key in raw:
        if key not in known:
            raise InvalidMixture(
                f"'{place}' has no field {shown(key)}; it has {', '.join(sorted(known))}",
                param=place,
            )
    return raw
