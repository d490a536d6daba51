"""Reads a trace's JSON back, strictly: what is drawn is what the file says."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from adapters.names import NAME_PATTERN
from server.cli.plot.palette import BASE

MAX_TOKENS = 1_000_000
MAX_WEIGHT = 1_000_000
MAX_POINTS = 5_000_000
"""Weights over all steps, those that are 0 too."""
MAX_NAMES = 14
"""More cannot be told apart: the lightest are drawn as one."""


@dataclass(frozen=True, slots=True)
class Plotted:
    """The weights of one answer as steps over its tokens.

    Attributes:
        title: what the picture is called.
        tokens: how many tokens there are.
        starts: token numbers [n] at which steps begin, rising from 0.
        weights: name → weights [n]; heaviest over all tokens first, the base model last.
    """

    title: str
    tokens: int
    starts: tuple[int, ...]
    weights: Mapping[str, tuple[float, ...]]


def read_trace(document: object, choice: int) -> Plotted:
    """One choice of a trace.

    Args:
        document: the JSON of a trace, or of an answer that holds one under ``trace``.
        choice: number of the choice.

    Raises:
        ValueError: it is no trace, or has no such choice; the message names the field.
    """
    trace = _object(document, "it")
    if "trace" in trace:
        trace = _object(trace["trace"], "'trace'")
    choices = _list(trace.get("choices"), "'choices'")
    if choice >= len(choices):
        raise ValueError(f"there is no choice {choice}; it has {len(choices)}")
    field = f"choices[{choice}]"
    chosen = _object(choices[choice], field)
    steps = [
        _step(value, f"{field}.steps[{number}]")
        for number, value in enumerate(_list(chosen.get("steps"), f"'{field}.steps'"))
    ]
    starts = tuple(start for start, _ in steps)
    if not starts or starts[0] != 0 or any(b <= a for a, b in pairwise(starts)):
        raise ValueError(f"'{field}.steps' must begin at token 0 and rise")
    tokens = chosen.get("tokens")
    end = starts[-1] + 1 if tokens is None else _count(tokens, f"{field}.tokens")
    kept = [(start, weights) for start, weights in steps if start < end] or steps[:1]
    return _plotted(trace, max(1, end), kept)


def _plotted(
    trace: Mapping[str, Any], tokens: int, steps: list[tuple[int, dict[str, float]]]
) -> Plotted:
    starts = tuple(start for start, _ in steps)
    ends = [*starts[1:], tokens]
    lengths = [end - start for start, end in zip(starts, ends, strict=True)]
    names = list(dict.fromkeys(name for _, weights in steps for name in weights))
    if len(names) * len(steps) > MAX_POINTS:
        raise ValueError(f"it has {len(names)} names in {len(steps)} steps, too many to draw")
    lines = {name: tuple(weights.get(name, 0.0) for _, weights in steps) for name in names}
    mass = {
        name: sum(w * n for w, n in zip(line, lengths, strict=True)) for name, line in lines.items()
    }
    ordered = sorted((n for n in names if mass[n] > 0), key=lambda n: (n == BASE, -mass[n]))
    drawn = {name: lines[name] for name in ordered}
    return Plotted(_title(trace), tokens, starts, _fewer(drawn))


def _fewer(lines: dict[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
    """The heaviest names, and the rest as one; the base model stays by itself."""
    adapters = [name for name in lines if name != BASE]
    if len(adapters) <= MAX_NAMES:
        return lines
    kept, rest = adapters[: MAX_NAMES - 1], adapters[MAX_NAMES - 1 :]
    others = tuple(map(sum, zip(*(lines[name] for name in rest), strict=True)))
    fewer = {name: lines[name] for name in kept} | {f"{len(rest)} others": others}
    return {**fewer, BASE: lines[BASE]} if BASE in lines else fewer


def _title(trace: Mapping[str, Any]) -> str:
    policy, scope, stride = (trace.get(key) for key in ("policy", "scope", "stride"))
    facts = [] if policy is None else [f"policy {_name(policy, 'policy')}"]
    facts += [] if scope is None else [f"scope {_name(scope, 'scope')}"]
    facts += [] if stride is None else [f"stride {_count(stride, 'stride')}"]
    return ", ".join(facts)


def _step(value: object, field: str) -> tuple[int, dict[str, float]]:
    """A step's token and its weights, the base model's share among them."""
    step = _object(value, f"'{field}'")
    weights = {
        _name(name, f"{field}.weights"): _weight(weight, f"{field}.weights.{name}")
        for name, weight in _object(step.get("weights"), f"'{field}.weights'").items()
    }
    share = _weight(step.get("base_share", 0.0), f"{field}.base_share")
    named = {**weights, BASE: share} if share else weights
    return _count(step.get("token"), f"{field}.token"), named


def _object(value: object, field: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{field} must be an object")
    return value


def _list(value: object, field: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{field} must be a list that is not empty")
    return value


def _count(value: object, field: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_TOKENS:
        raise ValueError(f"'{field}' must be a whole number from 0 to {MAX_TOKENS}")
    return value


def _weight(value: object, field: str) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 <= value <= MAX_WEIGHT
    ):
        raise ValueError(f"'{field}' must be a number from 0 to {MAX_WEIGHT}")
    return float(value)


def _name(value: object, field: str) -> str:
    if not isinstance(value, str) or NAME_PATTERN.fullmatch(value) is None:
        raise ValueError(f"'{field}' holds something other than a name: {str(value)[:64]!r}")
    return value
