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

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapters.errors import shown
from adapters.names import plain
from router.mixture import BASE_MODEL, Mixture
from router.policies.config import RoutingOverrides, parse_overrides
from server.catalogue.names import Names
from server.errors import (
    InvalidRequest,
    MixtureConflict,
    ModelNotFound,
)
from server.generation.given_mixture import READERS, member_named

OUR_FIELDS = frozenset(
    {
        *("mixture", "policy", "routing"),
        *("lora", "adapter_id", "adapter_source", "api_token", "merged_adapters"),
    }
)
"""Body fields that vLLM must not see."""


@dataclass(frozen=True, slots=True)
class Selection:
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


def resolve(body: Mapping[str, Any], names: Names) -> Selection:
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
    said = [field for field in READERS if body.get(field) is not None]
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
        mixture = READERS[said[0]](body[said[0]], names)
        return Selection(_model_of(mixture, said[0], names), mixture)
    selection = (
        Selection(_policy(body["policy"], names), policy=body["policy"]) if said else by_model
    )
    if selection.policy is not None:
        names.check_policy(selection.policy)
    if overrides is None:
        return selection
    if selection.policy is None:
        raise MixtureConflict(
            f"'routing' changes a policy, but the model {selection.model!r} is none; give"
            " 'policy' too",
            param="routing",
        )
    return Selection(selection.model, policy=selection.policy, overrides=overrides)


def read_model(model: object, names: Names) -> Selection:
    """What a model's name stands for. Errors as in :func:`resolve`."""
    if model is None or model == "":
        return Selection(names.default_policy, policy=names.default_policy)
    if not isinstance(model, str):
        raise InvalidRequest("'model' must be a string", param="model")
    if model == names.base:
        return Selection(model, BASE_MODEL)
    if model in names.policies:
        return Selection(model, policy=model)
    name = without_base(model, names)
    return Selection(plain(name), Mixture.of([member_named(name, 1.0, "model", names)]))


def without_base(model: str, names: Names) -> str:
    """An adapter's name, whether or not the base model's stands before it."""
    said = model.removeprefix(f"{names.base}:")
    return model if said == model else said.removeprefix(":")


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
