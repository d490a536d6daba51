"""``loralloy policies``: check a file of policies without a server."""

from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

policies = typer.Typer(help="Check files of policies.", no_args_is_help=True)


@policies.callback()
def _group() -> None:
    """Check files of policies."""


@policies.command("check")
def check_policies(
    file: Path = typer.Argument(..., help="A YAML file of policies.", exists=True, dir_okay=False),
) -> None:
    """Check a file of policies; faults are told with their lines."""
    from router.config import load_policies
    from router.errors import InvalidPolicy

    try:
        found = load_policies(file)
    except InvalidPolicy as error:
        for problem in error.problems:
            typer.echo(f"{file}: {problem}", err=True)
        raise typer.Exit(1) from None
    table = Table(box=None, pad_edge=False)
    for column in ("policy", "kind", "version", "description"):
        table.add_column(column)
    for name, policy in found.items():
        table.add_row(name, policy.kind, policy.version, policy.description or "")
    Console().print(table)
