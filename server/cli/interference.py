"""``loralloy interference``: how far adapters overlap, before they are merged."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from server.cli.messages import CommandError

if TYPE_CHECKING:
    from adapters.interference.table import Pair

_PICTURES = (".svg", ".png", ".pdf")
_LEAST = 2


def interference(
    folders: list[Path] = typer.Argument(..., help="Folders of two adapters or more."),
    out: Path | None = typer.Option(
        None, "--csv", help="Write every measure of every module to this file."
    ),
    picture: Path | None = typer.Option(
        None, "--plot", help="Draw a heat map of pairs by layers: .svg, .png or .pdf."
    ),
) -> None:
    """Measure how far adapters overlap: rows of A, updates, masks of B.

    Small figures say that a merge adds little noise. Beside each stands what chance gives.
    """
    if len(folders) < _LEAST:
        raise CommandError("name two adapters or more")
    if picture is not None and picture.suffix.lower() not in _PICTURES:
        raise CommandError(
            f"{picture} cannot be drawn: its name must end in one of {', '.join(_PICTURES)}"
        )
    import torch

    from adapters.errors import AdapterError
    from adapters.format.factors import read_factors
    from adapters.interference.table import as_csv, pairs

    # Thousands of small products: threads would wait for each other, and long on a busy machine.
    torch.set_num_threads(1)
    adapters = {}
    for name, folder in zip(_names(folders), folders, strict=True):
        try:
            adapters[name] = read_factors(folder)
        except (AdapterError, OSError) as error:
            raise CommandError(f"{folder}: {error}") from None
    try:
        found = pairs(adapters)
    except AdapterError as error:
        raise CommandError(str(error)) from None
    if out is not None:
        _write(out, as_csv(found).encode())
    if picture is not None:
        from server.cli.plot.heat_map import draw

        _write(picture, draw(found, picture.suffix.lower().removeprefix(".")))
    _show(found)


def _names(folders: list[Path]) -> list[str]:
    """The folders' own names, or the whole paths where two are the same."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def _write(target: Path, content: bytes) -> None:
    try:
        target.write_bytes(content)
    except OSError as error:
        raise CommandError(f"{target} cannot be written: {error.strerror or error}") from None


def _show(found: "list[Pair]") -> None:
    from rich.table import Table

    from server.cli.messages import console, in_a_cell

    table = Table(box=None, pad_edge=False)
    table.add_column("pair", overflow="fold")
    for column in ("rows of A", "cross-Gram", "updates", "masks"):
        table.add_column(f"{column} (chance)", justify="right")
    for pair in found:
        one = pair.overall
        masks = "–" if one.mask_overlap is None else f"{one.mask_overlap:.4f}"
        chance = "" if one.mask_chance is None else f" ({one.mask_chance:.4f})"
        table.add_row(
            in_a_cell(f"{pair.first}, {pair.second}"),
            f"{one.row_cosine:.4f} ({one.row_chance:.4f})",
            f"{one.cross_gram:.4f} ({one.gram_chance:.4f})",
            f"{one.delta_cosine:+.4f} (0)",
            masks + chance,
        )
    console().print(table)
