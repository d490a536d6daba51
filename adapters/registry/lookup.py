"""The reading half of the registry: what there is, without waiting for writers."""

from adapters.adapter import Adapter, Version
from adapters.database.records import Problem
from adapters.database.rows import AdapterRows
from adapters.limits import Limits
from adapters.registry.history import MIN_DIGEST_CHARACTERS, earlier
from adapters.registry.restart import SetAside, check_still_fits
from adapters.registry.snapshot import Snapshot
from adapters.store import AdapterStore
from adapters.validation.base_model import BaseModelShapes


class AdapterLookup:
    """Names and versions of one registry; safe to use from several threads."""

    _base: BaseModelShapes
    _limits: Limits
    _store: AdapterStore
    _ledger: AdapterRows
    _snapshot: Snapshot
    _set_aside: SetAside

    @property
    def store(self) -> AdapterStore:
        """Where the content is kept; uploads are best staged there too."""
        return self._store

    @property
    def is_shared(self) -> bool:
        """Whether other servers may change the same names."""
        return self._ledger.is_shared

    @property
    def problems(self) -> list[Problem]:
        """Names whose records could not be taken up at start; they are skipped, not lost."""
        return self._set_aside.problems

    def get(self, name: str) -> Adapter:
        """The adapter of a name.

        Raises:
            AdapterNotFound: there is none.
        """
        return self._snapshot.named(name)

    def versions(self, name: str) -> list[Version]:
        """The versions of a name that are kept, the latest first.

        Raises:
            AdapterNotFound: the name is not taken.
        """
        self.get(name)
        return self._ledger.history(name)

    def only_of(self, name: str) -> set[str]:
        """Digests of all versions of a name that no version of another name shares."""
        return self._ledger.only_of(name)

    def version(self, name: str, digest: str) -> Adapter:
        """One version of a name, by its digest or the digest's beginning.

        Raises:
            AdapterNotFound: the name is not taken.
            VersionNotFound: no version fits, or several do.
            InvalidAdapter: its content does not fit the base model or the limits of now.
        """
        now = self.get(name)
        if now.digest.startswith(digest) and len(digest) >= MIN_DIGEST_CHARACTERS:
            return now
        record = earlier(now, digest, self._ledger, self._store)
        size_bytes = self._store.size_bytes(record.adapter.digest)
        check_still_fits(record, size_bytes, self._store, self._base, self._limits)
        return record.adapter

    def all(self) -> list[Adapter]:
        """All adapters, by name."""
        return list(self._snapshot.by_name.values())

    def by_digest(self, digest: str) -> Adapter:
        """The adapter of a digest; the first by name where several names share it.

        Raises:
            AdapterNotFound: there is none.
        """
        return self._snapshot.of_digest(digest)
