"""Holds every record to every content, and puts right what can be without losing a good copy.

Nothing else may write meanwhile: the caller owns the data folder, and a shared database is locked
against uploads while this runs.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from adapters.database.records import record_of
from adapters.database.rows import AdapterRows, VersionRow
from adapters.errors import MalformedFile, StorageFailed
from adapters.registry.storage import Storage
from adapters.store import AdapterStore

Kind = Literal["missing", "damaged", "unrecorded", "unreadable", "unreferenced", "leftover"]
"""What can be wrong.

missing        a version's content is not in the store, or not whole
damaged        it is there and does not hash to its digest
unrecorded     a version without a record of its content, or a name without its version
unreadable     a name's record cannot be read
unreferenced   a content that no version stands for
leftover       what an upload or a removal that was cut off has left, or a damaged local copy
"""

SET_ASIDE = "set aside: upload the same content again, or remove the name"
_REMOVED, _MENDED = "removed", "mended from the copy on this machine"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: what.
        subject: the content's digest, the name, or the file.
        detail: who needs it.
        repair: what was done about it; None if nothing was.
        is_solved: whether nothing is wrong with it any more.
    """

    kind: Kind
    subject: str
    detail: str = ""
    repair: str | None = None
    is_solved: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What was looked at, and what is wrong."""

    names: int
    versions: int
    contents: int
    size_bytes: int
    findings: tuple[Finding, ...]

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong, or nothing any more."""
        return all(finding.is_solved for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {**asdict(self), "clean": self.is_clean}


def check(storage: Storage, *, repair: bool = False) -> Report:
    """Read every record and all of every content.

    Args:
        storage: opened without tidying, so that what was left is seen.
        repair: remove leftovers and contents that no version stands for; mend contents from good
            copies; set apart those that are damaged, so that the next start leaves their names
            out.

    Raises:
        StorageFailed: the database or the store refused, or a server is storing an adapter now.
    """
    rows, store = AdapterRows(storage.database), storage.store
    store.claim(rows.key)
    with rows.collecting() as alone:
        if not alone:
            raise StorageFailed(
                "could not check: another server on this database is storing an adapter; try again"
            )
        versions, names, sizes = rows.inventory(), rows.names(), store.sizes()
        findings = [
            *_contents(versions, store, repair=repair),
            *_records(versions, names, rows, store),
            *_unneeded(versions, rows, store, repair=repair),
        ]
    return Report(len(names), len(versions), len(sizes), sum(sizes.values()), tuple(findings))


def _contents(
    versions: list[VersionRow], store: AdapterStore, *, repair: bool
) -> Iterator[Finding]:
    """Contents that versions stand for and that are not as they should be."""
    users: dict[str, list[VersionRow]] = {}
    for version in versions:
        users.setdefault(version.digest, []).append(version)
    for digest, its_versions in users.items():
        kind: Kind = "damaged" if store.has(digest) else "missing"
        if store.is_intact(digest):
            continue
        detail = ", ".join(f"{one.name} (version {one.number})" for one in its_versions)
        finding = Finding(kind, digest, detail)
        yield _repaired(finding, store) if repair else finding


def _repaired(finding: Finding, store: AdapterStore) -> Finding:
    if store.mend(finding.subject):
        return replace(finding, repair=_MENDED, is_solved=True)
    if finding.kind == "damaged":
        store.set_apart(finding.subject)
    return replace(finding, repair=SET_ASIDE)


def _records(
    versions: list[VersionRow],
    names: list[tuple[str, int]],
    rows: AdapterRows,
    store: AdapterStore,
) -> Iterator[Finding]:
    """Rows that do not belong together, or make no sense."""
    numbers = {(version.name, version.number) for version in versions}
    for version in versions:
        if version.size_bytes is None:
            yield Finding("unrecorded", version.digest, f"{version.name} ({version.number})")
    for name, number in names:
        if (name, number) not in numbers:
            yield Finding("unrecorded", name, f"there is no version {number} of it")
    for row in rows.current():
        try:
            record_of(row, store.path)
        except MalformedFile as error:
            yield Finding("unreadable", str(row["name"]), str(error))


def _unneeded(
    versions: list[VersionRow], rows: AdapterRows, store: AdapterStore, *, repair: bool
) -> Iterator[Finding]:
    """What nobody will miss."""
    used = {version.digest for version in versions}
    unreferenced = [digest for digest in store.digests() if digest not in used]
    leftovers = store.leftovers()
    if repair:
        store.clear_leftovers()
        store.remove_all_except(rows.digests())
    done = _REMOVED if repair else None
    for digest in unreferenced:
        yield Finding("unreferenced", digest, repair=done, is_solved=repair)
    for left in leftovers:
        yield Finding("leftover", left, repair=done, is_solved=repair)
