"""From a request's body to what it asks for: the base model, given weights, or a policy.

The only place that knows the ways to say it:

    model: base | adapter | base:adapter | policy
    mixture: {"adapters": {name: weight}, "combination": …}
    policy: name, routing: {…}
    lora: [{"id": name, "scale": weight}]                              as llama.cpp says it
    adapter_id: name                                                   as LoRAX says it
    merged_adapters: {"ids", "weights", "merge_strategy"}              as LoRAX says it

An adapter's name may be followed by ``@`` and a digest's beginning: one of its versions.
A field that names adapters or a policy wins over ``model``; two of them contradict each other.
LoRAX's ``linear`` multiplies sums of factors, cross terms included; here it means the exact
weighted sum, which is what its users want of it.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from adapters.errors import VersionNotFound, shown
from router.mixture import BASE_MODEL, Combination, Member, Mixture
from router.policies.config import RoutingOverrides, parse_overrides
from server.catalogue.names import AT, Names, plain, version_name
from server.errors import (
    EmptyMixture,
    InvalidMixture,
    InvalidRequest,
    MixtureConflict,
    ModelNotFound,
)
from server.mixture_fields import read_combination, read_object, read_weight

OUR_FIELDS = frozenset(
    {
        *("mixture", "policy", "routing"),
        *("lora", "adapter_id", "adapter_source", "api_token", "merged_adapters"),
    }
)
"""Body fields that vLLM must not see."""

_LORAX_STRATEGIES: Mapping[str, Combination] = {"linear": "cat", "cat": "cat"}


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request asks for: a given mixture, or else a policy.

    Attributes:
        model: the name that the answer carries.
        mixture: the given mixture; None if a policy is to make one.
        policy: the policy's name, or None.
        overrides: what the request changes of the policy.
    """

    model: str
    mixture: Mixture | None = None
    policy: str | None = None
    overrides: RoutingOverrides | None = None


def resolve(body: Mapping[str, Any], names: Names) -> Wish:
    """Read what a body asks for.

    Raises:
        ModelNotFound: a name stands for nothing here.
        VersionNotFound: an adapter has no version of that digest.
        InvalidMixture: weights that cannot be applied, or fields that contradict each other.
        InvalidRequest: a field of the wrong type.
        ActionDenied: a policy that this caller cannot use.
        RoutingError: overrides that do not fit.
    """
    by_model = read_model(body.get("model"), names)
    said = [field for field in _READERS if body.get(field) is not None]
    if len(said) > 1:
        raise MixtureConflict(
            f"{said[0]!r} and {said[1]!r} both say which adapters to use; give one of them",
            param=said[1],
        )
    overrides = _overrides(body.get("routing"))
    if said and said[0] != "policy":
        if overrides is not None:
            raise MixtureConflict(
                f"'routing' changes a policy, but {said[0]!r} gives the weights; leave one out",
                param="routing",
            )
        mixture = _READERS[said[0]](body[said[0]], names)
        return Wish(_model_of(mixture, said[0], names), mixture)
    wish = Wish(_policy(body["policy"], names), policy=body["policy"]) if said else by_model
    if wish.policy is not None:
        names.check_policy(wish.policy)
    if overrides is None:
        return wish
    if wish.policy is None:
        raise MixtureConflict(
            f"'routing' changes a policy, but the model {wish.model!r} is none; give 'policy' too",
            param="routing",
        )
    return Wish(wish.model, policy=wish.policy, overrides=overrides)


def read_model(model: object, names: Names) -> Wish:
    """What a model's name stands for. Errors as in :func:`resolve`."""
    if model is None or model == "":
        return Wish(names.default_policy, policy=names.default_policy)
    if not isinstance(model, str):
        raise InvalidRequest("'model' must be a string", param="model")
    if model == names.base:
        return Wish(model, BASE_MODEL)
    if model in names.policies:
        return Wish(model, policy=model)
    name = without_base(model, names)
    return Wish(plain(name), Mixture.of([_member(name, 1.0, "model", names)]))


def without_base(model: str, names: Names) -> str:
    """An adapter's name, whether or not the base model's stands before it."""
    said = model.removeprefix(f"{names.base}:")
    return model if said == model else said.removeprefix(":")


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


def _model_of(mixture: Mixture, field: str, names: Names) -> str:
    """A single adapter goes by its name; a mixture has none, so it goes by the base model's."""
    return plain(mixture.members[0].name) if field == "adapter_id" else names.base


def _policy(name: object, names: Names) -> str:
    if not isinstance(name, str):
        raise InvalidRequest("'policy' must be a policy's name", param="policy")
    if name not in names.policies:
        raise ModelNotFound(
            f"there is no policy {shown(name)}; GET /v1/policies lists them", param="policy"
        )
    return name


def _overrides(raw: object) -> RoutingOverrides | None:
    if raw is None:
        return None
    if not isinstance(raw, Mapping):
        raise InvalidRequest("'routing' must be an object of options", param="routing")
    return parse_overrides(raw)


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
    return Mixture.of([_member(raw, 1.0, "adapter_id", names)])


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
        _member(name, read_weight(weight, places[name]), places[name], names)
        for name, weight in weights.items()
    ]
    twice = [name for name, count in Counter(one.name for one in members).items() if count > 1]
    if twice:
        raise InvalidMixture(f"version {twice[0]!r} is named twice", param=field)
    return Mixture.of(members, combination=combination)


def _member(name: str, weight: float, param: str, names: Names) -> Member:
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


_READERS: Mapping[str, Callable[[Any, Names], Mixture]] = {
    "mixture": _read_mixture,
    "policy": lambda raw, names: BASE_MODEL,
    "lora": _read_lora,
    "adapter_id": _read_adapter_id,
    "merged_adapters": _read_merged,
}
