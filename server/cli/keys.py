"""``loralloy keys``: make, list and revoke API keys, in the database itself.

No server is needed, so that the first key can be made before one runs; one that runs takes a
change up within a second.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.table import Table

from adapters.printable import printable
from server.cli.messages import CommandError, console, in_a_cell, say, warn

if TYPE_CHECKING:
    from server.access.keys import ApiKey, Role
    from server.access.rows import KeyRows

keys = typer.Typer(
    help="Make, list and revoke API keys, also while a server runs.", no_args_is_help=True
)

DATA_DIR = typer.Option(
    None, "--data-dir", help="The server's data folder. [~/.local/share/loralloy]"
)
CONFIG = typer.Option(
    None, "--config", envvar="LORALLOY_CONFIG", help="The server's file of settings."
)
_SPAN = re.compile(r"([1-9]\d{0,5})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_MAX_NOTE = 200
_MAX_PATTERNS = 256


@keys.command("create")
def create_key(  # noqa: PLR0913, PLR0917 - each is an option of the command
    role: str = typer.Option(
        "user", "--role", help="user: generate. admin: everything. metrics: /metrics alone."
    ),
    adapter: list[str] | None = typer.Option(
        None,
        "--adapter",
        help="An adapter that it may use, or a pattern such as team-*; repeatable. [all]",
    ),
    note: str | None = typer.Option(None, "--note", help="Who or what it is for."),
    expires: str | None = typer.Option(
        None, "--expires", help="When it ends: 90d, 12h, or a date as 2027-01-31 (UTC). [never]"
    ),
    requests_per_minute: int | None = typer.Option(
        None, "--requests-per-minute", min=1, max=1_000_000, help="[as the server's settings say]"
    ),
    max_concurrent: int | None = typer.Option(
        None, "--max-concurrent", min=1, max=1_000_000, help="[as the server's settings say]"
    ),
    data_dir: Path | None = DATA_DIR,
    config: Path | None = CONFIG,
) -> None:
    """Make a key and print it: once, since only its digest is kept."""
    import time

    from server.access.keys import AdapterRule, ApiKey, Quota, new_id, new_key

    if note is not None and (printable(note) != note or len(note) > _MAX_NOTE):
        raise CommandError(f"a note is one line of at most {_MAX_NOTE} characters")
    checked = _role(role)
    kept = ApiKey(
        new_id(),
        checked,
        time.time(),
        AdapterRule(_patterns(adapter, checked)),
        note,
        None if expires is None else _moment(expires).timestamp(),
        quota=Quota(requests_per_minute, max_concurrent),
    )
    key = new_key()
    with _key_rows(data_dir, config) as rows:
        rows.add(key, kept, "cli")
    warn(
        f"{kept.id}: role {kept.role}, {_adapters(kept)}, expires {_time(kept.expires)}. "
        "This is the key; it is not shown again:"
    )
    say(key)


@keys.command("list")
def list_keys(
    revoked: bool = typer.Option(False, "--revoked", help="Also those that are revoked."),
    data_dir: Path | None = DATA_DIR,
    config: Path | None = CONFIG,
) -> None:
    """List the keys that were made here, never the keys themselves."""
    with _key_rows(data_dir, config) as rows:
        found = [key for key in rows.all() if revoked or key.revoked is None]
    if not found:
        say("no keys; make one with: loralloy keys create --role admin")
        return
    table = Table(box=None, pad_edge=False)
    columns = ["id", "role", "adapters", "created", "expires", "last used", "note"]
    for column in [*columns, *(["revoked"] if revoked else [])]:
        table.add_column(column, overflow="fold", no_wrap=column == "id")
    for key in found:
        table.add_row(
            key.id,
            key.role,
            _adapters(key),
            *(_time(moment) for moment in (key.created, key.expires, key.last_used)),
            in_a_cell(key.note or ""),
            *([_time(key.revoked)] if revoked else []),
        )
    console().print(table)


@keys.command("revoke")
def revoke_key(
    key_id: str = typer.Argument(..., metavar="ID", help="The key's id, as 'list' shows it."),
    data_dir: Path | None = DATA_DIR,
    config: Path | None = CONFIG,
) -> None:
    """Take no more requests by a key. Answers that run end as they would have."""
    with _key_rows(data_dir, config) as rows:
        if not key_id.isascii() or not rows.revoke(key_id, "cli"):
            raise CommandError(
                f"there is no key {key_id!r} to revoke; 'loralloy keys list' shows what there is"
            )
    say(f"{key_id}: revoked")


@contextmanager
def _key_rows(data_dir: Path | None, config: Path | None) -> Iterator["KeyRows"]:
    from adapters.errors import AdapterError
    from server.access.rows import KeyRows
    from server.errors import InvalidSettings
    from server.settings import load_settings
    from server.start.access import registry_database

    try:
        settings = load_settings({} if data_dir is None else {"data_dir": data_dir}, config)
        database = registry_database(settings)
        try:
            yield KeyRows(database)
        finally:
            database.dispose()
    except (InvalidSettings, AdapterError) as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"the data folder cannot be used: {error.strerror or error}") from None


def _role(given: str) -> "Role":
    from server.access.keys import ROLES

    for role in ROLES:
        if role == given:
            return role
    raise CommandError(f"unknown role {given!r}; the roles are {', '.join(ROLES)}")


def _patterns(given: list[str] | None, role: "Role") -> tuple[str, ...] | None:
    from server.access.keys import is_pattern

    if not given:
        return None
    if role != "user":
        raise CommandError(
            f"--adapter is for keys of role user; one of role {role} cannot be limited"
        )
    if len(given) > _MAX_PATTERNS:
        raise CommandError(f"--adapter was given {len(given)} times; a key has {_MAX_PATTERNS}")
    for pattern in given:
        if not is_pattern(pattern):
            raise CommandError(
                f"{pattern!r} cannot be an adapter's name: names have a-z, 0-9, '.', '_' and '-', "
                "and '*' stands for any of them"
            )
    return tuple(dict.fromkeys(given))


def _moment(given: str) -> datetime:
    """The time that ``90d`` or a date means."""
    now = datetime.now(UTC)
    span = _SPAN.fullmatch(given)
    try:
        if span is not None:
            return now + timedelta(**{_UNITS[span[2]]: int(span[1])})
        moment = datetime.fromisoformat(given)
    except (ValueError, OverflowError):
        raise CommandError(
            f"{given!r} is not a time; write 90d, 12h, or a date such as 2027-01-31"
        ) from None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    if moment <= now:
        raise CommandError(f"{given} is in the past")
    return moment


def _adapters(key: "ApiKey") -> str:
    patterns = key.adapters.patterns
    return "all adapters" if patterns is None else ", ".join(patterns) or "no adapters"


def _time(moment: float | None) -> str:
    if moment is None:
        return "never"
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M")
