"""A mixture that a body gives itself: every form of it, read strictly, no name looked up yet.

    mixture: {"adapters": {name: weight}, "combination": …}
    lora: [{"id": name or number, "scale": weight}]                    as llama.cpp says it
    adapter_id: name                                                   as LoRAX and TGI say it
    adapter: name                                                      as mistral.rs says it
    lora_path: name, or a list that names one adapter for each prompt  as SGLang says it
    merged_adapters: {"ids", "weights", "merge_strategy"}              as LoRAX says it

All but ``mixture`` may also stand in an object ``parameters``, where LoRAX and TGI have them.
LoRAX's ``linear`` multiplies sums of factors, cross terms included; here it means the exact
weighted sum, which is what its users want of it.
"""

from collections.abc import Callable, Collection, Mapping, Sized
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from adapters.errors import shown
from router.mixture import COMBINATIONS, Combination
from server.errors import EmptyMixture, InvalidMixture, InvalidWeight, MixtureTooLarge

MAX_WEIGHT = 1000
"""Far beyond any use, and far from overflowing half precision. The router's limit too."""

MAX_MEMBERS = 1024
"""Adapters that a body may name, whatever the engine has slots for: each is looked up by name."""

_SHOWN_NAME = 160

_LORAX_STRATEGIES: Mapping[str, Combination] = {"linear": "cat", "cat": "cat"}


@dataclass(frozen=True, slots=True)
class GivenMember:
    """One adapter of a given mixture.

    Attributes:
        name: as the body has it: an adapter's, ``name@digest``, or llama.cpp's number of one.
        weight: from 0 to ``MAX_WEIGHT``.
        param: where in the body the weight stands; where there is none, the name.
    """

    name: str | int
    weight: float
    param: str


@dataclass(frozen=True, slots=True)
class GivenMixture:
    """The mixture of a body, its names as they stand there.

    Attributes:
        members: the adapters, at least one, each name once.
        combination: how they are combined.
        param: where in the body they stand.
    """

    members: tuple[GivenMember, ...]
    combination: Combination
    param: str

    @property
    def is_single(self) -> bool:
        """Whether its field names one adapter, whose name the answer then carries."""
        return self.param.rpartition(".")[2] in SINGLE_FIELDS


def read_mixture(field: str, raw: object, within: str = "") -> GivenMixture:
    """Read one of the fields of a body that give a mixture.

    Args:
        field: one of :data:`MIXTURE_FIELDS`.
        raw: what it holds.
        within: what stands before the field's name where errors tell it: ``parameters.``.

    Raises:
        InvalidMixture: it has another form, or names an adapter twice.
        EmptyMixture: it names no adapter.
        MixtureTooLarge: it names more than ``MAX_MEMBERS``.
        InvalidWeight: a weight is no number, negative or beyond any sense.
    """
    try:
        given = _READERS[field](raw)
    except InvalidMixture as error:
        error.param = f"{within}{error.param}"
        raise
    if not within:
        return given
    members = tuple(replace(one, param=within + one.param) for one in given.members)
    return replace(given, members=members, param=within + given.param)


def _read_mixture(raw: object) -> GivenMixture:
    fields = _object(raw, "mixture", {"adapters", "combination"})
    adapters = fields.get("adapters")
    if not isinstance(adapters, Mapping):
        raise InvalidMixture(
            "'mixture.adapters' must map adapters' names to weights", param="mixture.adapters"
        )
    _check_count(adapters, "mixture.adapters")
    combination = _combination(fields.get("combination"))
    rows = [
        (str(name), weight, f"mixture.adapters.{str(name)[:_SHOWN_NAME]}")
        for name, weight in adapters.items()
    ]
    return _given(rows, combination, "mixture.adapters")


def _read_lora(raw: object) -> GivenMixture:
    if not isinstance(raw, list):
        raise InvalidMixture("'lora' must be a list of {'id', 'scale'}", param="lora")
    _check_count(raw, "lora")
    rows: dict[str | int, tuple[str | int, object, str]] = {}
    for number, item in enumerate(raw):
        param = f"lora[{number}]"
        entry = _object(item, param, {"id", "scale"})
        name = entry.get("id")
        if isinstance(name, bool) or not isinstance(name, str | int):
            raise InvalidMixture(
                f"'{param}.id' must be an adapter's name, or its number of GET /lora-adapters",
                param=f"{param}.id",
            )
        if name in rows:
            raise InvalidMixture(f"adapter {shown(name)} is named twice", param=f"{param}.id")
        rows[name] = (name, entry.get("scale", 1.0), f"{param}.scale")
    return _given(rows.values(), "cat", "lora")


def _read_single(field: str, raw: object) -> GivenMixture:
    if not isinstance(raw, str):
        raise InvalidMixture(f"'{field}' must be an adapter's name", param=field)
    return GivenMixture((GivenMember(raw, 1.0, field),), "cat", field)


def _read_lora_path(raw: object) -> GivenMixture:
    """SGLang's field: a name, or a list with one for each prompt, which here is one for all."""
    if isinstance(raw, list):
        names = {name if isinstance(name, str) else None for name in raw}
        if len(names) != 1 or None in names:
            raise InvalidMixture(
                "'lora_path' must name one adapter for all prompts of a request; send prompts that "
                "need others, or the base model, as requests of their own",
                param="lora_path",
            )
        raw = raw[0]
    return _read_single("lora_path", raw)


def _read_merged(raw: object) -> GivenMixture:
    known = {"ids", "weights", "merge_strategy", "density", "majority_sign_method"}
    fields = _object(raw, "merged_adapters", known)
    ids, weights = fields.get("ids"), fields.get("weights")
    if isinstance(ids, list):
        _check_count(ids, "merged_adapters.ids")
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
    strategy = fields.get("merge_strategy")
    strategy = "linear" if strategy is None else strategy  # LoRAX's client sends null
    if not isinstance(strategy, str) or strategy not in _LORAX_STRATEGIES:
        raise InvalidMixture(
            f"the merge strategy {shown(strategy)} needs weights merged beforehand; a request can "
            "have 'linear', which is the exact weighted sum here",
            param="merged_adapters.merge_strategy",
        )
    rows = [
        (name, weight, f"merged_adapters.weights[{number}]")
        for number, (name, weight) in enumerate(zip(ids, weights, strict=True))
    ]
    return _given(rows, _LORAX_STRATEGIES[strategy], "merged_adapters")


_READERS: Mapping[str, Callable[[object], GivenMixture]] = {
    "mixture": _read_mixture,
    "lora": _read_lora,
    "adapter_id": partial(_read_single, "adapter_id"),
    "adapter": partial(_read_single, "adapter"),
    "lora_path": _read_lora_path,
    "merged_adapters": _read_merged,
}

MIXTURE_FIELDS = frozenset(_READERS)
"""Body fields that give a mixture; at most one of them may stand in a body."""

SINGLE_FIELDS = frozenset({"adapter_id", "adapter", "lora_path"})
"""Those of them that name one adapter."""


def _check_count(given: Sized, param: str) -> None:
    """Judge how many adapters are named before any of them is looked at."""
    if len(given) > MAX_MEMBERS:
        raise MixtureTooLarge(
            f"'{param}' names {len(given)} adapters; a request may name {MAX_MEMBERS}", param=param
        )


def _given(
    rows: Collection[tuple[str | int, object, str]], combination: Combination, param: str
) -> GivenMixture:
    """A mixture of (name, weight, where the weight stands)."""
    if not rows:
        raise EmptyMixture(
            f"'{param}' names no adapter; for the base model alone give its name as 'model'",
            param=param,
        )
    members = [GivenMember(name, _weight(weight, at), at) for name, weight, at in rows]
    return GivenMixture(tuple(members), combination, param)


def _weight(raw: object, param: str) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise InvalidWeight(f"'{param}' must be a number, not {shown(raw)}", param=param)
    if not 0 <= raw <= MAX_WEIGHT:
        raise InvalidWeight(
            f"'{param}' is {shown(raw)}; a weight is a number from 0 to {MAX_WEIGHT}", param=param
        )
    return float(raw)


def _combination(raw: object) -> Combination:
    """A combination; ``cat`` if there is none."""
    for combination in COMBINATIONS:
        if raw == combination:
            return combination
    if raw is None:
        return "cat"
    raise InvalidMixture(
        f"there is no combination {shown(raw)}; there are {', '.join(COMBINATIONS)}",
        param="mixture.combination",
    )


def _object(raw: object, param: str, known: Collection[str]) -> Mapping[str, Any]:
    """An object that has none but known fields."""
    if not isinstance(raw, Mapping):
        raise InvalidMixture(f"'{param}' must be an object", param=param)
    for key in raw:
        if key not in known:
            raise InvalidMixture(
                f"'{param}' has no field {shown(key)}; it has {', '.join(sorted(known))}",
                param=param,
            )
    return raw
