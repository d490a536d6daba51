"""``loralloy adapters``: the adapters of a running server."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer
from rich.table import Table

from adapters.errors import AdapterError
from adapters.upload_form import routing_document, upload_form
from server.cli import client
from server.cli.fsck import fsck
from server.cli.imports import import_adapter
from server.cli.messages import CommandError, console, in_a_cell, say, show_json

adapters = typer.Typer(
    help="The adapters of a running server; check a stopped one's.",
    no_args_is_help=True,
)

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
    for column in ("name", "state", "rank", "size", "resident", "routed"):
        table.add_column(column, no_wrap=True)
    table.add_column("description")
    for adapter in found:
        routing = adapter["routing"]
        table.add_row(
            in_a_cell(adapter["id"]),
            adapter["state"],
            str(adapter["rank"]),
            _size(adapter["size_bytes"]),
            "yes" if adapter["resident"] else "no",
            "yes" if routing["has_centroid"] else "no",
            in_a_cell(routing["description"] or ""),
        )
    out.print(table)
    for adapter in found:
        _warn(adapter)


@adapters.command("show")
def show_adapter(
    name: str = _NAME,
    url: str = client.URL,
    key: str | None = client.KEY,
) -> None:
    """Show one adapter as JSON."""
    show_json(client.Client(url, key).get(_path(name)))


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
        _report(client.Client(url, key).post("/v1/adapters", **form))


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
        _report(server.send("PUT", _path(name), headers=client.if_match(expect), **form))


@adapters.command("versions")
def list_versions(name: str = _NAME, url: str = client.URL, key: str | None = client.KEY) -> None:
    """List the contents that an adapter has had, the latest first."""
    table = Table(box=None, pad_edge=False)
    for column in ("version", "created (UTC)", "digest"):
        table.add_column(column, overflow="fold", no_wrap=column != "digest")
    for one in client.Client(url, key).get(f"{_path(name)}/versions")["data"]:
        created = datetime.fromtimestamp(one["created"], UTC).strftime("%Y-%m-%d %H:%M")
        table.add_row(str(one["number"]), created, in_a_cell(one["digest"]))
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
    _report(client.Client(url, key).send("POST", path, headers=client.if_match(expect), json=body))


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
    fields: dict[str, Any] = {}
    if router is not None:
        with _one_line():
            fields = routing_document(router)
    if examples is not None:
        fields["examples"] = _text(examples)
    if description is not None:
        fields["description"] = description
    if not fields:
        raise CommandError("nothing to change: give --examples, --description or --router")
    server = client.Client(url, key)
    _report(server.send("PATCH", _path(name), headers=client.if_match(expect), json=fields))


def _report(adapter: Mapping[str, Any]) -> None:
    """Print what an adapter is by now."""
    routed = "routed to" if adapter["routing"]["has_centroid"] else "not routed to: no examples"
    say(
        f"{adapter['id']}: version {adapter['version']}, rank {adapter['rank']}, "
        f"{_size(adapter['size_bytes'])}, "
        f"sha256 {adapter['digest'][:12]}, {routed}"
    )
    _warn(adapter)


def _warn(adapter: Mapping[str, Any]) -> None:
    """Print what the server noticed about an adapter's upload."""
    for warning in adapter.get("warnings", ()):
        console().print(f"{adapter['id']}: warning: {warning}", highlight=False, markup=False)


@adapters.command("remove")
def remove_adapter(
    name: str = _NAME,
    url: str = client.URL,
    key: str | None = client.KEY,
) -> None:
    """Remove an adapter, once running requests are done with it."""
    gone = client.Client(url, key).delete(_path(name))
    job = gone.get("job")
    told = "removed"
    if job is not None:
        told = f"being removed, as soon as running requests are done with it; {job['id']} ends then"
    say(f"{name}: {told}")


@contextmanager
def _form(
    path: Path, examples: Path | None, given: Mapping[str, str | None]
) -> Iterator[dict[str, Any]]:
    """The form of an upload as httpx takes it; its files stay open while the block runs."""
    with _one_line():
        form = upload_form(path, given, examples)
    with ExitStack() as stack:
        files = {
            field: (file.name, stack.enter_context(file.open("rb")))
            for field, file in form.files.items()
        }
        yield {"data": form.texts, "files": files}


@contextmanager
def _one_line() -> Iterator[None]:
    """Files that cannot be used end the command with one line."""
    try:
        yield
    except AdapterError as error:
        raise CommandError(str(error)) from None


def _path(name: str) -> str:
    return client.path_of("/v1/adapters", name)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        raise CommandError(f"{path} is not UTF-8 text") from None


def _size(size: int) -> str:
    mebibytes = size / 2**20
    return f"{mebibytes:.1f} MiB" if mebibytes >= 1 else f"{size / 2**10:.0f} KiB"
