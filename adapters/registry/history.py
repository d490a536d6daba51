"""Finding an earlier version of a name."""

from typing import Final

from adapters.adapter import Adapter, Version
from adapters.database.records import Record, record_of, routing_row
from adapters.database.rows import AdapterRows
from adapters.errors import VersionNotFound, shown
from adapters.store import AdapterStore

MIN_DIGEST_CHARACTERS: Final = 8
"""So many characters of a digest, or more, name a version."""


def earlier(now: Adapter, digest: str, rows: AdapterRows, store: AdapterStore) -> Record:
    """A version of a name that is not the one of now, with that one's routing data.

    Args:
        now: the name's adapter.
        digest: the version's digest, or its beginning.
        rows: where versions are kept.
        store: where contents are.

    Raises:
        VersionNotFound: no version fits, or several do.
    """
    version = _found(now.name, digest, rows.history(now.name))
    row = rows.content(version.digest)
    if row is None:
        raise VersionNotFound(f"the content of adapter {now.name!r} {shown(digest)} is gone")
    values = {
        "name": now.name,
        "number": version.number,
        "created": version.created,
        "warnings": version.warnings,
        "routing": routing_row(now.routing),
        "removing": now.removing,
    }
    return record_of({**row, **values}, store.path)


def _found(name: str, digest: str, versions: list[Version]) -> Version:
    """The latest version whose digest begins so."""
    if len(digest) < MIN_DIGEST_CHARACTERS:
        raise VersionNotFound(
            f"a version is named by {MIN_DIGEST_CHARACTERS} characters of its digest or more"
        )
    fitting = [version for version in versions if version.digest.startswith(digest)]
    if not fitting:
        raise VersionNotFound(f"adapter {name!r} has no version of digest {shown(digest)}")
    if len({version.digest for version in fitting}) > 1:
        raise VersionNotFound(
            f"adapter {name!r} has several versions whose digest begins with {shown(digest)}"
        )
    return fitting[0]
