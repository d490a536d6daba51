"""From a request's body to what it asks for: the base model, given weights, or a policy.

    model: base | adapter | base:adapter | policy
    policy: name, routing: {…}
    mixture, lora, adapter_id, adapter, lora_path, merged_adapters: see ``given_mixture``

A field that names adapters or a policy wins over ``model``; two of them contradict each other.
First the fields are read (:func:`read_selection`), then the names that they hold are bound to what
there is (:func:`select`); in between, versions can be looked up.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from adapters.errors import shown
from adapters.names import plain
from router.mixture import BASE_MODEL, Member, Mixture
from router.policies.config import RoutingOverrides, parse_overrides
from server.catalogue.names import Names
from server.errors import InvalidMixture, InvalidRequest, MixtureConflict, ModelNotFound
from server.generation.bounds.unknown_fields import refuse_unknown
from server.generation.given_mixture import (
    MIXTURE_FIELDS,
    GivenMember,
    GivenMixture,
    read_mixture,
)
from server.generation.named_versions import member_named

_PARAMETERS = "parameters"
"""The object in which LoRAX and TGI have what vLLM and OpenAI have in the body itself."""

_LORAX_SOURCE = ("adapter_source", "api_token")
"""Where LoRAX is to fetch an adapter from: here it is there already, by its name."""

OUR_FIELDS = frozenset({*MIXTURE_FIELDS, "policy", "routing", *_LORAX_SOURCE, _PARAMETERS})
"""Body fields that vLLM must not see."""

_CHOOSING = (
    *("mixture", "policy", "lora", "adapter_id", "adapter", "lora_path", "merged_adapters"),
)
"""Body fields that say which adapters a request gets."""

_IN_PARAMETERS = tuple(field for field in _CHOOSING if field not in ("mixture", "policy"))


@dataclass(frozen=True, slots=True)
class SelectionFields:
    """What a body says of adapters and policies, before any name is looked up.

    Attributes:
        model: the name given as ``model``, or None.
        mixture: the given mixture, or None.
        policy: the name given as ``policy``, or None; never beside a mixture.
        overrides: what the request changes of a policy; never beside a mixture.
    """

    model: str | None = None
    mixture: GivenMixture | None = None
    policy: str | None = None
    overrides: RoutingOverrides | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that may be an adapter's, or a version's."""
        members = () if self.mixture is None else self.mixture.members
        model = () if self.model is None else (self.model,)
        return (*model, *(one.name for one in members if isinstance(one.name, str)))


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


def read_selection(body: Mapping[str, Any]) -> SelectionFields:
    """Read what a body says of adapters and policies.

    Raises:
        InvalidRequest: a field of the wrong type.
        InvalidMixture: weights that cannot be applied, or fields that contradict each other.
        UnsupportedParameter: a field that names an adapter in a way that is not known here.
        RoutingError: overrides that do not fit.
    """
    parameters = body.get(_PARAMETERS)
    parameters = parameters if isinstance(parameters, Mapping) else {}
    refuse_unknown(_unread(body))
    model = read_model(body.get("model"))
    given = [("", field) for field in _CHOOSING if body.get(field) is not None]
    within = f"{_PARAMETERS}."
    given += [(within, field) for field in _IN_PARAMETERS if parameters.get(field) is not None]
    if len(given) > 1:
        first, second = ("".join(names) for names in given[:2])
        raise MixtureConflict(
            f"{first!r} and {second!r} both say which adapters to use; give one of them",
            param=second,
        )
    overrides = _overrides(body.get("routing"))
    if not given or given[0] == ("", "policy"):
        return SelectionFields(model, policy=_policy(body.get("policy")), overrides=overrides)
    (within, field) = given[0]
    if overrides is not None:
        raise MixtureConflict(
            f"'routing' changes a policy, but '{within}{field}' gives the weights; leave one out",
            param="routing",
        )
    raw = parameters[field] if within else body[field]
    return SelectionFields(model, read_mixture(field, raw, within))


def _unread(body: Mapping[str, Any]) -> dict[str, Any]:
    """What of a body is not read here."""
    unread = {name: value for name, value in body.items() if name not in OUR_FIELDS}
    parameters = body.get(_PARAMETERS)
    if isinstance(parameters, Mapping):
        read = {*_IN_PARAMETERS, *_LORAX_SOURCE}
        parameters = {name: value for name, value in parameters.items() if name not in read}
    return {**unread, _PARAMETERS: parameters}


def read_model(raw: object) -> str | None:
    """The name in the field ``model``; None if there is none.

    Raises:
        InvalidRequest: it is no text.
    """
    if raw is None or raw == "":
        return None
    if not isinstance(raw, str):
        raise InvalidRequest("'model' must be a string", param="model")
    return raw


def select(fields: SelectionFields, names: Names) -> Selection:
    """Bind the names of a request to what there is.

    Args:
        fields: what the request says.
        names: what its sender can name, with the versions among ``fields.names``.

    Raises:
        ModelNotFound: a name stands for nothing here.
        VersionNotFound: an adapter has no version of that digest.
        InvalidMixture: one version under two names, or overrides without a policy.
        ActionDenied: a policy that the sender cannot use.
    """
    selection = select_model(fields.model, names)
    if fields.mixture is not None:
        mixture = _bound(fields.mixture, names)
        # A single adapter goes by its name; a mixture has none, so it goes by the base model's.
        model = plain(mixture.members[0].name) if fields.mixture.is_single else names.base
        return Selection(model, mixture)
    if fields.policy is not None:
        _check_known(fields.policy, names)
        selection = Selection(fields.policy, policy=fields.policy)
    if selection.policy is not None:
        names.check_policy(selection.policy)
    elif fields.overrides is not None:
        raise MixtureConflict(
            f"'routing' changes a policy, but the model {selection.model!r} is not a policy; "
            "give 'policy' too, or leave 'routing' out",
            param="routing",
        )
    return replace(selection, overrides=fields.overrides)


def select_model(model: str | None, names: Names) -> Selection:
    """What a model's name stands for; without one, the default policy.

    Raises:
        ModelNotFound: it stands for nothing here.
        VersionNotFound: the adapter has no version of that digest.
    """
    if model is None:
        return Selection(names.default_policy, policy=names.default_policy)
    if model == names.base:
        return Selection(model, BASE_MODEL)
    if model in names.policies:
        return Selection(model, policy=model)
    name = names.without_base(model)
    return Selection(plain(name), Mixture.of([member_named(name, 1.0, "model", names)]))


def _bound(given: GivenMixture, names: Names) -> Mixture:
    members = [_member(one, names) for one in given.members]
    counts = Counter(member.name for member in members)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise InvalidMixture(f"version {twice[0]!r} is named twice", param=given.param)
    return Mixture.of(members, combination=given.combination)


def _member(given: GivenMember, names: Names) -> Member:
    name = given.name
    if isinstance(name, int):
        found = names.numbers.name_of(name)
        if found is None:
            raise ModelNotFound(
                f"there is no adapter number {shown(name)}; GET /lora-adapters lists the numbers",
                param=given.param,
            )
        name = found
    return member_named(name, given.weight, given.param, names)


def _policy(raw: object) -> str | None:
    if raw is not None and not isinstance(raw, str):
        raise InvalidRequest("'policy' must be a policy's name", param="policy")
    return raw


def _check_known(policy: str, names: Names) -> None:
    if policy not in names.policies:
        raise ModelNotFound(
            f"there is no policy {shown(policy)}; GET /v1/policies lists them", param="policy"
        )


def _overrides(raw: object) -> RoutingOverrides | None:
    if raw is None:
        return None
    if not isinstance(raw, Mapping):
        raise InvalidRequest("'routing' must be an object of options", param="routing")
    return parse_overrides(raw)
