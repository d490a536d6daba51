"""``loralloy adapters fsck``: hold the records of a stopped server to its contents."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from server.cli.messages import CommandError, show_json

if TYPE_CHECKING:
    from adapters.registry.fsck import Report
    from server.settings import Settings

_DIGEST_SHOWN = 12


def fsck(
    repair: bool = typer.Option(
        False,
        "--repair",
        help="Remove leftovers, mend from good copies, set apart what is damaged.",
    ),
    as_json: bool = typer.Option(False, "--json", help="Print the report as JSON."),
    data_dir: Path | None = typer.Option(
        None, "--data-dir", help="Where adapters are kept. [~/.local/share/loralloy]"
    ),
    config: Path | None = typer.Option(
        None, "--config", envvar="LORALLOY_CONFIG", help="YAML file of settings."
    ),
) -> None:
    """Check the adapters of a stopped server: every record against all of every content.

    The database and the store are those of the settings. Ends with 0 if nothing is wrong, or
    nothing any more; with 1 otherwise.
    """
    from adapters.errors import AdapterError
    from server.errors import InvalidSettings
    from server.settings import load_settings

    try:
        flags = {} if data_dir is None else {"data_dir": data_dir}
        settings = load_settings(flags, config)
        report = _checked(settings, repair=repair)
    except (InvalidSettings, AdapterError) as error:
        raise CommandError(str(error)) from None
    if as_json:
        show_json(report.as_json())
    else:
        _show(report, repair=repair)
    if not report.is_clean:
        raise typer.Exit(1)


def _checked(settings: "Settings", *, repair: bool) -> "Report":
    from adapters.registry.fsck import check
    from adapters.registry.storage import DATABASE_FILE, open_storage
    from server.start.preflight import owned

    folder = settings.data_dir
    needs = folder if settings.database_url else folder / DATABASE_FILE
    if not needs.exists():
        raise CommandError(
            f"there are no adapters in {folder}; --data-dir names another data folder"
        )
    with owned(folder, "a server is running on the data folder {}; stop it first"):
        storage = open_storage(settings.locations, tidy=False)
        try:
            return check(storage, repair=repair)
        finally:
            storage.database.dispose()


def _show(report: "Report", *, repair: bool) -> None:
    from rich.table import Table

    from server.cli.messages import console, in_a_cell, say

    say(
        f"{report.names} names, {report.versions} versions, {report.contents} contents, "
        f"{report.size_bytes / 2**20:.1f} MiB"
    )
    if not report.findings:
        say("clean")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("wrong", "what", "needed by", "done"):
        table.add_column(column, overflow="fold")
    for finding in report.findings:
        folder, _, name = finding.subject.rpartition("/")
        shown = name[:_DIGEST_SHOWN] if len(name) > _DIGEST_SHOWN else name
        what = f"{folder}/{shown}" if folder else shown
        row = (finding.kind, what, finding.detail, finding.repair or "")
        table.add_row(*map(in_a_cell, row))
    console().print(table)
    open_ones = sum(not finding.is_solved for finding in report.findings)
    summary = f"{len(report.findings)} problems, {open_ones} of them open"
    say(summary if repair else f"{summary}; --repair fixes what can be fixed")
