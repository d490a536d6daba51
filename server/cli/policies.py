"""``loralloy policies``: check a file of policies; the policies of a running server."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.table import Table

from server.cli import client
from server.cli.messages import CommandError, console, in_a_cell, say, show_json, warn

if TYPE_CHECKING:
    from router.policies import PolicyConfig

policies = typer.Typer(
    help="Check files of policies; list, show, put and remove those of a running server.",
    no_args_is_help=True,
)

_FILE = typer.Argument(..., help="A YAML file of policies.", exists=True, dir_okay=False)
_NAME = typer.Argument(..., help="The policy's name.")
_EXPECT = typer.Option(
    None, "--expect", metavar="VERSION", help="Only if this is its version now, as 'list' has it."
)


@policies.callback()
def _group() -> None:
    """Check files of policies; list, show, put and remove those of a running server."""


@policies.command("check")
def check_policies(file: Path = _FILE) -> None:
    """Check a file of policies; faults come with their lines."""
    found = _read(file)
    table = _table("policy", "kind", "version", "description")
    for name, policy in found.items():
        table.add_row(name, policy.kind, policy.version, in_a_cell(policy.description or ""))
    console().print(table)


@policies.command("list")
def list_policies(url: str = client.URL, key: str | None = client.KEY) -> None:
    """List the policies of a running server."""
    table = _table("policy", "kind", "version", "from", "description")
    for one in client.Client(url, key).get("/v1/policies")["data"]:
        fields = (one["id"], one["kind"], one["version"], one["source"], one["description"] or "")
        table.add_row(*map(in_a_cell, fields))
    console().print(table)


@policies.command("show")
def show_policy(
    name: str = _NAME,
    versions: bool = typer.Option(False, "--versions", help="What was put under the name so far."),
    url: str = client.URL,
    key: str | None = client.KEY,
) -> None:
    """Show one policy as JSON."""
    path = _path(name) + ("/versions" if versions else "")
    show_json(client.Client(url, key).get(path))


@policies.command("put")
def put_policy(
    name: str = _NAME,
    file: Path = _FILE,
    expect: str | None = _EXPECT,
    url: str = client.URL,
    key: str | None = client.KEY,
) -> None:
    """Give a running server one policy of a file; it serves at once, and after a restart."""
    found = _read(file)
    if name not in found:
        raise CommandError(f"{file} has no policy {name!r}; it has {', '.join(sorted(found))}")
    policy = found[name]
    options = policy.model_dump(mode="json", exclude_unset=True) | {"kind": policy.kind}
    answer = client.Client(url, key).send(
        "PUT", _path(name), json=options, headers=client.if_match(expect)
    )
    say(f"{name}: kind {answer['kind']}, version {answer['version']}")


@policies.command("remove")
def remove_policy(
    name: str = _NAME,
    expect: str | None = _EXPECT,
    url: str = client.URL,
    key: str | None = client.KEY,
) -> None:
    """Remove a policy that was put; the server's file may have one of that name."""
    answer = client.Client(url, key).send("DELETE", _path(name), headers=client.if_match(expect))
    left = answer["file_version"]
    now = "" if left is None else f"; the file's counts again, version {left}"
    say(f"{name}: removed{now}")


def _read(file: Path) -> "dict[str, PolicyConfig]":
    from router.errors import InvalidPolicy
    from router.policies.config import load_policies

    try:
        return load_policies(file)
    except InvalidPolicy as error:
        for problem in error.problems:
            warn(f"{file}: {problem}")
        raise typer.Exit(1) from None


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column)
    return table


def _path(name: str) -> str:
    return client.path_of("/v1/policies", name)
