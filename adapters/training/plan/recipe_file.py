"""Recipes as YAML: read, merged with what the command line sets, and split into a plan's parts.

    task: maths
    data: [train.jsonl]
    rank: 32
    methods:
      lori_d: {learning_rate: 5.0e-5}     # over what stands above, for one method

Paths in a recipe are relative to where the command is run.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from adapters.format.strict_yaml import BadYaml, load, read_text
from adapters.training.errors import TrainingError
from adapters.training.job import Job
from adapters.training.methods import METHODS
from adapters.training.methods.method import Keys, Method
from adapters.training.plan.keys import check_keys
from adapters.training.plan.rules import check
from adapters.training.recipe import Recipe

BUNDLED: Final = Path(__file__).parents[1] / "recipes"
BASE_VARIABLE: Final = "LORALLOY_BASE_MODEL"
"""Environment variable with the base model of recipes that name none."""

_PER_METHOD = "methods"

_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run is.

    Attributes:
        method: how is trained.
        job: on what.
        recipe: by which numbers.
        keys: what the method alone is to know.
    """

    method: Method[Any]
    job: Job
    recipe: Recipe
    keys: Keys

    @property
    def inputs(self) -> dict[str, Path]:
        """Key → the file of an earlier run that it names."""
        return self.keys.inputs() | self.job.inputs()

    @property
    def numbers(self) -> dict[str, Any]:
        """Every number that shapes the result, as JSON: the recipe's, and the method's own."""
        paths = set(self.keys.inputs())
        own = self.keys.model_dump(mode="json", exclude=paths, exclude_none=True)
        return self.recipe.model_dump(mode="json") | own

    def settled(self, data: Mapping[str, str]) -> "Plan":
        """The plan with those keys filled in that depend on the data.

        Args:
            data: SHA-256 of each file or dataset by its name.
        """
        return replace(self, keys=self.method.settle(self.keys, self.job, self.recipe, data))


def bundled() -> list[str]:
    """The names of the recipes that come along, as ``--config`` takes them."""
    return sorted(
        str(path.relative_to(BUNDLED).with_suffix("")) for path in BUNDLED.rglob("*.yaml")
    )


def plan(method: Method[Any], config: str | None, settings: Iterable[str] = ()) -> Plan:
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
    if (base := os.environ.get(BASE_VARIABLE)) is not None:
        shared.setdefault("base_model", base)
    check_keys(method, shared, own)
    values = shared | own
    job, recipe, keys = (_validated(part, values) for part in (Job, Recipe, method.keys))
    check(method, job, recipe, keys)
    return Plan(method, job, recipe, keys)


def _read(config: str) -> dict[str, Any]:
    path = Path(config)
    if not path.is_file() and (BUNDLED / f"{config}.yaml").is_file():
        path = BUNDLED / f"{config}.yaml"
    try:
        content = load(read_text(path))
    except FileNotFoundError:
        raise TrainingError(
            f"there is no recipe {config}; bundled are {', '.join(bundled())}"
        ) from None
    except OSError as error:
        raise TrainingError(f"cannot read {config}: {error.strerror}") from None
    except BadYaml as error:
        line = "" if error.line is None else f" (line {error.line})"
        raise TrainingError(f"{config} {error}{line}") from None
    if not isinstance(content, dict):
        raise TrainingError(f"{config}: a mapping of keys to values is needed")
    return content


def _for_method(
    content: Mapping[str, Any], method: Method[Any], config: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The keys for all methods, which this one may have no use for, and those for it."""
    common = {key: value for key, value in content.items() if key != _PER_METHOD}
    each = content.get(_PER_METHOD)
    if each is None:
        return {}, common
    if not isinstance(each, dict) or not all(isinstance(own, dict) for own in each.values()):
        raise TrainingError(f"{config}: methods: a mapping of methods to their keys is needed")
    if unknown := sorted(set(each) - set(METHODS)):
        raise TrainingError(
            f"{config}: there is no method {unknown[0]!r}; there are {', '.join(METHODS)}"
        )
    if method.name not in each:
        raise TrainingError(f"{config} is for {', '.join(each)}, and not for {method.name}")
    return common, dict(each[method.name])


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise TrainingError(f"--set {text!r}: write key=value")
    try:
        return key.strip(), load(value)
    except BadYaml:
        raise TrainingError(f"--set {text!r}: the value is not YAML") from None


def _validated(part: type[_Model], values: Mapping[str, Any]) -> _Model:
    """One part of a plan, from the values that are its own."""
    own = {key: value for key, value in values.items() if key in part.model_fields}
    try:
        return part.model_validate(own)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing":
            raise TrainingError(
                f"the recipe has no {field!r}, which is needed; --set {field}=… gives it"
            ) from None
        raise TrainingError(f"{field}: {first['msg']}, not {first['input']!r}") from None
