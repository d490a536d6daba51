"""``loralloy adapters``: the adapters of a running server."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import typer
from rich.console import Console
from rich.table import Table

from server.cli import client
from server.cli.fsck import fsck
from server.cli.imports import import_adapter
from server.cli.trouble import Trouble

adapters = typer.Typer(
    help="List, show, push, import and remove the adapters of a running server; check a stopped "
    "one's.",
    no_args_is_help=True,
)

_CONFIG, _WEIGHTS, _ROUTING = (
    "adapter_config.json",
    "adapter_model.safetensors",
    "router.json",
)
_ROUTING_FIELDS = ("examples", "description", "centroids", "centroid", "encoder")


adapters.command("fsck")(fsck)
adapters.command("import")(import_adapter)


@adapters.command("list")
def list_adapters(url: str = client.URL, key: str | None = client.KEY) -> None:
    """List every adapter."""
    found = client.Client(url, key).get("/v1/adapters")["data"]
    console = Console()
    if not found:
        console.print("no adapters yet; add one with: loralloy adapters push NAME FOLDER")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("name", "rank", "size", "resident", "routed", "description"):
        table.add_column(column, overflow="ellipsis", no_wrap=True)
    for adapter in found:
        routing = adapter["routing"]
        table.add_row(
            adapter["id"],
            str(adapter["rank"]),
            _size(adapter["size_bytes"]),
            "yes" if adapter["resident"] else "no",
            "yes" if routing["has_centroid"] else "no",
            routing["description"] or "",
        )
    console.print(table)


@adapters.command("show")
def show_adapter(
    name: str = typer.Argument(..., help="The adapter's name."),
    url: str = client.URL,
    key: str | None = client.KEY,
) -> None:
    """Show one adapter as JSON."""
    Console().print_json(data=client.Client(url, key).get(f"/v1/adapters/{quote(name, safe='')}"))


@adapters.command("push")
def push_adapter(
    name: str = typer.Argument(..., help="What requests will call it."),
    path: Path = typer.Argument(
        ..., help="A PEFT folder, or a .zip or .tar.gz of one.", exists=True
    ),
    examples: Path | None = typer.Option(
        None, "--examples", help="Texts it is for: JSON lines or plain lines.", exists=True
    ),
    description: str | None = typer.Option(
        None, "--description", help="What it is for, in a sentence."
    ),
    url: str = client.URL,
    key: str | None = client.KEY,
) -> None:
    """Upload an adapter; it serves at once.

    Examples or a description tell the router when to use it. A folder's own router.json is sent
    too.
    """
    fields = {"name": name}
    if description is not None:
        fields["description"] = description
    with ExitStack() as stack:
        files = {
            field: (file.name, stack.enter_context(file.open("rb")))
            for field, file in _files(path, examples).items()
        }
        if path.is_dir() and (path / _ROUTING).is_file():
            fields = {**_routing_fields(path / _ROUTING), **fields}
        adapter = client.Client(url, key).post("/v1/adapters", data=fields, files=files)
    routed = "routed to" if adapter["routing"]["has_centroid"] else "not routed to: no examples"
    Console().print(
        f"{adapter['id']}: rank {adapter['rank']}, {_size(adapter['size_bytes'])}, "
        f"sha256 {adapter['digest'][:12]}, {routed}",
        highlight=False,
    )


@adapters.command("remove")
def remove_adapter(
    name: str = typer.Argument(..., help="The adapter's name."),
    url: str = client.URL,
    key: str | None = client.KEY,
) -> None:
    """Remove an adapter, once running requests are done with it."""
    client.Client(url, key).delete(f"/v1/adapters/{quote(name, safe='')}")
    Console().print(f"{name}: removed", highlight=False)


def _files(path: Path, examples: Path | None) -> dict[str, Path]:
    files = {"archive": path}
    if path.is_dir():
        files = {"config": path / _CONFIG, "file": path / _WEIGHTS}
        for file in files.values():
            if not file.is_file():
                raise Trouble(f"{path} has no {file.name}; is it a PEFT adapter's folder?")
    return files if examples is None else {**files, "examples": examples}


def _routing_fields(path: Path) -> dict[str, str]:
    """The fields of a folder's routing data, as the form wants them."""
    import json

    try:
        document: Any = json.loads(path.read_text("utf-8"))
    except ValueError:
        raise Trouble(f"{path} is not valid JSON") from None
    if not isinstance(document, dict):
        raise Trouble(f"{path} must hold a JSON object")
    return {
        field: value if isinstance(value, str) else json.dumps(value)
        for field in _ROUTING_FIELDS
        if (value := document.get(field))
    }


def _size(size: int) -> str:
    mebibytes = size / 2**20
    return f"{mebibytes:.1f} MiB" if mebibytes >= 1 else f"{size / 2**10:.0f} KiB"
