"""Opens keys, limits and the audit log, as the settings say."""

import time
from pathlib import Path

from sqlalchemy import Engine

from adapters.registry.storage import DATABASE_FILE, open_names
from server.access.access import Access
from server.access.audit import AuditLog
from server.access.authentication import Callers
from server.access.key_refresh import KeyRefresh
from server.access.keys import Quota
from server.access.limits import Limiter
from server.access.rows import KeyRows
from server.settings import Settings


def registry_database(settings: Settings) -> Engine:
    """The database of adapters, keys and audit; its folder is made if need be.

    Raises:
        StorageFailed: it cannot be opened.
    """
    settings.data_dir.resolve().mkdir(parents=True, exist_ok=True)
    return open_names(settings.locations)


def open_access(settings: Settings, database: Engine) -> Access:
    """Who may do what, by the settings and a database.

    Raises:
        StorageFailed: the database refused.
        InvalidSettings: the file of keys cannot be read.
    """
    quota = Quota(settings.access.requests_per_minute, settings.access.max_concurrent)
    callers = Callers(settings.keys(), quota, only_local=settings.is_loopback)
    refresh = KeyRefresh(KeyRows(database), callers)
    return Access(callers, Limiter(), refresh, AuditLog(database, settings.access.audit_rows))


def has_stored_key(settings: Settings) -> bool:
    """Whether the database has a key that is taken now. None is made where there is none yet.

    Raises:
        StorageFailed: it cannot be opened.
    """
    if settings.database_url is None and not _is_there(settings.data_dir / DATABASE_FILE):
        return False
    database = registry_database(settings)
    try:
        stored = KeyRows(database).stored()
    finally:
        database.dispose()
    return any(key.is_usable(time.time()) for key in stored.by_digest.values())


def _is_there(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:
        return False
