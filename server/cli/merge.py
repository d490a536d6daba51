"""``loralloy merge``: several adapters merged into one that is served like any other."""

import math
from pathlib import Path

import typer

from server.cli.messages import CommandError, say


def merge(
    parts: list[str] = typer.Argument(..., help="FOLDER=WEIGHT of two adapters or more."),
    out: Path = typer.Option(..., "--out", help="Folder to make."),
    combination: str = typer.Option(
        "cat", help="PEFT's rule: cat, linear, svd, ties, dare_ties, …"
    ),
    density: float | None = typer.Option(
        None, help="Share of the entries that ties, dare and magnitude_prune keep."
    ),
    rank: int | None = typer.Option(None, min=1, help="Of the result, for svd."),
    seed: int = typer.Option(0, help="Of what dare leaves out."),
) -> None:
    """Merge adapters into one, by PEFT's rules.

    cat is the weighted sum of the updates, exactly, at the sum of the ranks. A fixed policy serves
    cat and linear without any file: see docs/policies.md.
    """
    weights = _weights(parts)
    from adapters.errors import AdapterError
    from adapters.merging.merge import COMBINATIONS, Rule
    from adapters.merging.merge import merge as merged

    if combination not in COMBINATIONS:
        raise CommandError(
            f"unknown combination {combination!r}; choose one of {', '.join(COMBINATIONS)}"
        )
    rule = Rule(combination, density, rank, seed)
    try:
        found = merged(weights, rule, out)
    except AdapterError as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"{error.filename or out}: {error.strerror or error}") from None
    say(f"{out}: rank {found}, {combination} of {len(weights)} adapters")


def _weights(parts: list[str]) -> dict[Path, float]:
    found: dict[Path, float] = {}
    for part in parts:
        folder, equals, text = part.rpartition("=")
        try:
            weight = float(text) if equals else math.nan
        except ValueError:
            weight = math.nan
        if not math.isfinite(weight):
            raise CommandError(f"{part!r}: write FOLDER=WEIGHT, such as build/maths=0.4")
        if Path(folder) in found:
            raise CommandError(f"{folder} is named twice")
        found[Path(folder)] = weight
    return found
