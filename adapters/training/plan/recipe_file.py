"""Recipes as YAML: read, merged with what the command line sets, and split into job and recipe.

    task: maths
    data: [train.jsonl]
    rank: 32
    methods:
      lori_d: {learning_rate: 5.0e-5}     # over what stands above, for one method

Paths in a recipe are relative to where the command is run.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from adapters.training.errors import TrainingError
from adapters.training.job import Job
from adapters.training.methods.method import METHODS, Method
from adapters.training.plan.rules import check
from adapters.training.recipe import Recipe

BUNDLED: Final = Path(__file__).parents[1] / "recipes"
BASE_VARIABLE: Final = "LORALLOY_BASE_MODEL"
"""Environment variable with the base model of recipes that name none."""

_PER_METHOD = "methods"

_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run is: how, on what, and by which numbers."""

    method: Method
    job: Job
    recipe: Recipe


def bundled() -> list[str]:
    """The names of the recipes that come along, as ``--config`` takes them."""
    return sorted(
        str(path.relative_to(BUNDLED).with_suffix("")) for path in BUNDLED.rglob("*.yaml")
    )


def methods_of(config: str) -> list[Method]:
    """The methods that a recipe is for.

    Raises:
        TrainingError: there is no such recipe.
    """
    each = _read(config).get(_PER_METHOD)
    return [METHODS[name] for name in (METHODS if each is None else each)]


def plan(method: Method, config: str | None, settings: Iterable[str] = ()) -> Plan:
    """A run by a recipe and by what is set on the command line, which wins.

    Args:
        method: how is trained.
        config: a YAML file, or the name of a bundled recipe; None for the defaults.
        settings: ``key=value`` each, the value in YAML.

    Raises:
        TrainingError: a key or value is wrong, or some contradict each other.
    """
    shared, own = ({}, {}) if config is None else _for_method(_read(config), method, config)
    own |= dict(_setting(text) for text in settings)
    said = shared | own
    if (base := os.environ.get(BASE_VARIABLE)) is not None:
        said.setdefault("base_model", base)
    _check_keys(said)
    job = _validated(Job, {key: value for key, value in said.items() if key in Job.model_fields})
    recipe = _validated(
        Recipe, {key: value for key, value in said.items() if key in Recipe.model_fields}
    )
    check(method, job, recipe, own.keys())
    return Plan(method, job, recipe)


def _read(config: str) -> dict[str, Any]:
    path = Path(config)
    if not path.is_file() and (BUNDLED / f"{config}.yaml").is_file():
        path = BUNDLED / f"{config}.yaml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TrainingError(
            f"there is no recipe {config}; bundled are {', '.join(bundled())}"
        ) from None
    except OSError as error:
        raise TrainingError(f"cannot read {config}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise TrainingError(f"{config} is not UTF-8 text") from None
    except yaml.YAMLError as error:
        raise TrainingError(f"{config} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise TrainingError(f"{config}: a mapping of keys to values is needed")
    return content


def _for_method(
    content: Mapping[str, Any], method: Method, config: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The keys for all methods, which this one may have no use for, and those for it."""
    said = {key: value for key, value in content.items() if key != _PER_METHOD}
    each = content.get(_PER_METHOD)
    if each is None:
        return {}, said
    if not isinstance(each, dict) or not all(isinstance(own, dict) for own in each.values()):
        raise TrainingError(f"{config}: methods: a mapping of methods to their keys is needed")
    if unknown := sorted(set(each) - set(METHODS)):
        raise TrainingError(
            f"{config}: there is no method {unknown[0]!r}; there are {', '.join(METHODS)}"
        )
    if method.name not in each:
        raise TrainingError(f"{config} is for {', '.join(each)}, and not for {method.name}")
    return said, dict(each[method.name])


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise TrainingError(f"--set {text!r}: write key=value")
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError:
        raise TrainingError(f"--set {text!r}: the value is not YAML") from None


def _check_keys(said: Mapping[str, Any]) -> None:
    known = [*Job.model_fields, *Recipe.model_fields]
    for key in said:
        if key not in known:
            near = get_close_matches(str(key), known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}"
            raise TrainingError(f"a recipe has no key {key!r}{hint}")


def _validated(model: type[_Model], values: Mapping[str, Any]) -> _Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing":
            raise TrainingError(f"the recipe says no {place!r}; --set {place}=… gives it") from None
        raise TrainingError(f"{place}: {first['msg']}, not {first['input']!r}") from None
