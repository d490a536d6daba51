"""``loralloy adapters import``: let a running server fetch an adapter itself."""

import time
from typing import Any

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from adapters.printable import printable
from server.cli import client
from server.cli.messages import CommandError, errors, say

_EVERY_S = 0.5
_ENDED = frozenset({"done", "failed", "cancelled"})


def import_adapter(  # noqa: PLR0913, PLR0917 - one for each option
    name: str = typer.Argument(..., help="What requests will call it."),
    source: str = typer.Argument(
        ...,
        help="hf://ORG/REPO@COMMIT[/FOLDER], s3://BUCKET/PREFIX, https://HOST/PATH.zip or "
        "file:///FOLDER, as far as the server's settings allow.",
    ),
    description: str | None = typer.Option(
        None, "--description", help="What it is for, in a sentence."
    ),
    replace: bool = typer.Option(
        False, "--replace", help="Give a taken name this content as its next version."
    ),
    wait: bool = typer.Option(
        False, "--wait", help="Wait until it serves, and show how far it is."
    ),
    url: str = client.URL,
    key: str | None = client.KEY,
) -> None:
    """Let the server fetch an adapter from a hub, S3, HTTPS or a folder of its own."""
    body: dict[str, Any] = {"name": name, "source": source, "replace": replace}
    if description is not None:
        body["description"] = description
    server = client.Client(url, key)
    job = server.post("/v1/imports", json=body)
    if not wait:
        say(f"{name}: {job['id']} has begun; look at it with GET /v1/jobs/{job['id']}")
        return
    job = _awaited(server, job)
    if job["state"] != "done":
        error = job["error"] or {"message": "the job was cancelled", "code": "job_cancelled"}
        raise CommandError(f"{name}: {error['message']} ({error['code']})")
    adapter = job["adapter"]
    say(
        f"{name}: rank {adapter['rank']}, version {adapter['version']}, "
        f"sha256 {adapter['digest'][:12]}"
    )


def _awaited(server: client.Client, job: dict[str, Any]) -> dict[str, Any]:
    """The job once it has ended; how far it is goes to the standard error meanwhile."""
    described = TextColumn("{task.description}", markup=False)
    columns = (described, BarColumn(), DownloadColumn(binary_units=True))
    with Progress(*columns, console=errors(), transient=True) as shown:
        bar = shown.add_task(printable(job["step"]), total=None)
        while job["state"] not in _ENDED:
            time.sleep(_EVERY_S)
            job = server.get(client.path_of("/v1/jobs", str(job["id"])))
            shown.update(
                bar,
                description=printable(job["step"]),
                completed=job["bytes_done"],
                total=job["bytes_total"],
            )
    return job
