"""``loralloy adapters``: the adapters of a running server."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import typer
from rich.table import Table

from server.cli import client
from server.cli.fsck import fsck
from server.cli.imports import import_adapter
from server.cli.messages import CommandError, console

adapters = typer.Typer(
    help="The adapters of a running server; check a stopped one's.",
    no_args_is_help=True,
)

_CONFIG, _WEIGHTS, _ROUTING = (
    "adapter_config.json",
    "adapter_model.safetensors",
    "router.json",
)
_ROUTING_FIELDS = ("examples", "description", "centroids", "centroid", "encoder")


_NAME = typer.Argument(..., help="The adapter's name.")
_PATH = typer.Argument(..., help="A PEFT folder, or a .zip or .tar.gz of one.", exists=True)
_EXAMPLES = typer.Option(
    None, "--examples", help="Texts it is for: JSON lines or plain lines.", exists=True
)
_DESCRIPTION = typer.Option(None, "--description", help="What it is for, in a sentence.")
_EXPECT = typer.Option(
    None, "--expect", metavar="DIGEST", help="Only if this is its digest now, as 'show' has it."
)

adapters.command("fsck")(fsck)
adapters.command("import")(import_adapter)


@adapters.command("list")
def list_adapters(url: str = client.URL, key: str | None = client.KEY) -> None:
    """List every adapter."""
    found = client.Client(url, key).get("/v1/adapters")["data"]
    out = console()
    if not found:
        out.print("no adapters yet; add one with: loralloy adapters push NAME FOLDER")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("name", "rank", "size", "resident", "routed"):
        table.add_column(column, no_wrap=True)
    table.add_column("description")
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
    out.print(table)


@adapters.command("show")
def show_adapter(
    name: str = _NAME,
    url: str = client.URL,
    key: str | None = client.KEY,
) -> None:
    """Show one adapter as JSON."""
    console().print_json(data=client.Client(url, key).get(_path(name)))


@adapters.command("push")
def push_adapter(
    name: str = typer.Argument(..., help="What requests will call it."),
    path: Path = _PATH,
    examples: Path | None = _EXAMPLES,
    description: str | None = _DESCRIPTION,
    url: str = client.URL,
    key: str | None = client.KEY,
) -> None:
    """Upload an adapter; it serves at once.

    Examples or a description tell the router when to use it. A folder's own router.json is sent
    too.
    """
    with _form(path, examples, {"name": name, "description": description}) as form:
        _tell(client.Client(url, key).post("/v1/adapters", **form))


@adapters.command("replace")
def replace_adapter(  # noqa: PLR0913, PLR0917 - one for each option
    name: str = _NAME,
    path: Path = _PATH,
    examples: Path | None = _EXAMPLES,
    description: str | None = _DESCRIPTION,
    expect: str | None = _EXPECT,
    url: str = client.URL,
    key: str | None = client.KEY,
) -> None:
    """Give an adapter new content; requests that come from now on get it.

    Routing data stay as they are, unless some are given or the folder has a router.json.
    """
    with _form(path, examples, {"description": description}) as form:
        server = client.Client(url, key)
        _tell(server.send("PUT", _path(name), headers=_match(expect), **form))


@adapters.command("versions")
def list_versions(name: str = _NAME, url: str = client.URL, key: str | None = client.KEY) -> None:
    """List the contents that an adapter has had, the latest first."""
    table = Table(box=None, pad_edge=False)
    for column in ("version", "created (UTC)", "digest"):
        table.add_column(column, overflow="fold", no_wrap=column != "digest")
    for one in client.Client(url, key).get(f"{_path(name)}/versions")["data"]:
        created = datetime.fromtimestamp(one["created"], UTC).strftime("%Y-%m-%d %H:%M")
        table.add_row(str(one["number"]), created, one["digest"])
    console().print(table)


@adapters.command("restore")
def restore_adapter(
    name: str = _NAME,
    digest: str = typer.Argument(..., help="Of the version, or its first 8 characters or more."),
    expect: str | None = _EXPECT,
    url: str = client.URL,
    key: str | None = client.KEY,
) -> None:
    """Make an earlier content of an adapter its next version."""
    path, body = f"{_path(name)}/restore", {"digest": digest}
    _tell(client.Client(url, key).send("POST", path, headers=_match(expect), json=body))


@adapters.command("describe")
def describe_adapter(  # noqa: PLR0913, PLR0917 - one for each option
    name: str = _NAME,
    examples: Path | None = _EXAMPLES,
    description: str | None = _DESCRIPTION,
    router: Path | None = typer.Option(
        None, "--router", help="A router.json, as router.fit writes it.", exists=True
    ),
    expect: str | None = _EXPECT,
    url: str = client.URL,
    key: str | None = client.KEY,
) -> None:
    """Tell the router what an adapter is for; its content stays. An empty text takes away."""
    told: dict[str, Any] = {} if router is None else _routing_document(router)
    if examples is not None:
        told["examples"] = _text(examples)
    if description is not None:
        told["description"] = description
    if not told:
        raise CommandError("say what changes: --examples, --description or --router")
    server = client.Client(url, key)
    _tell(server.send("PATCH", _path(name), headers=_match(expect), json=told))


def _tell(adapter: Mapping[str, Any]) -> None:
    """Say what an adapter is by now."""
    routed = "routed to" if adapter["routing"]["has_centroid"] else "not routed to: no examples"
    console().print(
        f"{adapter['id']}: version {adapter['version']}, rank {adapter['rank']}, "
        f"{_size(adapter['size_bytes'])}, "
        f"sha256 {adapter['digest'][:12]}, {routed}",
        highlight=False,
    )


@adapters.command("remove")
def remove_adapter(
    name: str = _NAME,
    url: str = client.URL,
    key: str | None = client.KEY,
) -> None:
    """Remove an adapter, once running requests are done with it."""
    client.Client(url, key).delete(_path(name))
    console().print(f"{name}: removed", highlight=False)


@contextmanager
def _form(
    path: Path, examples: Path | None, given: Mapping[str, str | None]
) -> Iterator[dict[str, Any]]:
    """The form of an upload: a folder's own routing data, and over them what is given."""
    fields = {field: value for field, value in given.items() if value is not None}
    with ExitStack() as stack:
        files = {
            field: (file.name, stack.enter_context(file.open("rb")))
            for field, file in _files(path, examples).items()
        }
        if path.is_dir() and (path / _ROUTING).is_file():
            fields = {**_routing_fields(path / _ROUTING), **fields}
        yield {"data": fields, "files": files}


def _path(name: str) -> str:
    return f"/v1/adapters/{quote(name, safe='')}"


def _match(digest: str | None) -> dict[str, str]:
    return {} if digest is None else {"If-Match": f'"{digest}"'}


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        raise CommandError(f"{path} is not UTF-8 text") from None


def _files(path: Path, examples: Path | None) -> dict[str, Path]:
    files = {"archive": path}
    if path.is_dir():
        files = {"config": path / _CONFIG, "file": path / _WEIGHTS}
        for file in files.values():
            if not file.is_file():
                raise CommandError(f"{path} has no {file.name}; is it a PEFT adapter's folder?")
    return files if examples is None else {**files, "examples": examples}


def _routing_fields(path: Path) -> dict[str, str]:
    """The fields of a folder's routing data, as the form wants them."""
    import json

    return {
        field: value if isinstance(value, str) else json.dumps(value)
        for field, value in _routing_document(path).items()
    }


def _routing_document(path: Path) -> dict[str, Any]:
    """What a router.json says, without what it leaves empty."""
    import json

    try:
        document: Any = json.loads(path.read_text("utf-8"))
    except ValueError:
        raise CommandError(f"{path} is not valid JSON") from None
    if not isinstance(document, dict):
        raise CommandError(f"{path} must hold a JSON object")
    return {field: value for field in _ROUTING_FIELDS if (value := document.get(field))}


def _size(size: int) -> str:
    mebibytes = size / 2**20
    return f"{mebibytes:.1f} MiB" if mebibytes >= 1 else f"{size / 2**10:.0f} KiB"
