"""What the guard needs of keys and limits, without a server."""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from starlette.routing import BaseRoute

from adapters.database.connection import open_database, sqlite_url
from server.access.authentication import Callers
from server.access.keys import AdapterRule, ApiKey, Quota, Role, new_id, new_key
from server.access.limits import Limiter
from server.access.rows import KeyRows
from server.edge.settings import LimitSettings


def callers_of(*keys: str, quota: Quota | None = None, only_local: bool = True) -> Callers:
    """Whoever holds one of these keys of the settings."""
    return Callers(keys, quota or Quota(), only_local=only_local)


def guarded(
    *keys: str, limits: LimitSettings | None = None, routes: Iterable[BaseRoute] = ()
) -> dict[str, Any]:
    """The arguments of a guard that takes these keys."""
    return {
        "callers": callers_of(*keys),
        "limiter": Limiter(),
        "limits": limits or LimitSettings(),
        "routes": lambda: routes,
    }


def database(folder: Path) -> Engine:
    """A database with its tables."""
    return open_database(sqlite_url(folder / "registry.db"))


def made(
    rows: KeyRows, role: Role = "user", *patterns: str, created: float = 1.0, **facts: Any
) -> tuple[str, ApiKey]:
    """A new key that a database keeps, and what it is."""
    key = new_key()
    rule = AdapterRule(patterns or None)
    kept = ApiKey(new_id(), role, created, rule, **facts)
    rows.add(key, kept, "cli")
    return key, kept


def keys_command(data_dir: Path, *arguments: str) -> str:
    """What ``loralloy keys`` prints to its standard output, beside a server or without one."""
    done = subprocess.run(
        [
            *(sys.executable, "-c", "from server.cli import main; main()", "keys"),
            *(*arguments, "--data-dir", str(data_dir)),
        ],
        env={**os.environ, "COLUMNS": "200"},  # each row of a table on one line
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
