"""Names for stored adapters and their versions, kept across restarts.

    <root>/blobs/<digest>/      content, unless it is kept elsewhere (see ``adapters.store``)
    <root>/registry.db          names and versions, unless another database is given

The registry is the only way in: it validates, stores, then names. Names are cheap, several may
share one content. A name's earlier contents stay as its versions. Content without a version is kept
until it is asked to be collected, since a request that is still running may need it.

Writers take turns; readers never wait for them, as they read a snapshot that is replaced whole.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from adapters.adapter import Adapter, RoutingData, Version
from adapters.database.records import Problem, Record, fit_key
from adapters.database.rows import AdapterRows
from adapters.errors import AdapterExists, VersionConflict
from adapters.limits import Limits
from adapters.names import Reserved, check_name
from adapters.registry.describe import described
from adapters.registry.history import MIN_DIGEST_CHARACTERS, earlier
from adapters.registry.refresh import Refreshed, refreshed
from adapters.registry.restart import SetAside, check_still_fits, load_names
from adapters.registry.snapshot import Snapshot
from adapters.registry.storage import Locations, Storage, open_storage
from adapters.routing_data import check_routing, check_texts
from adapters.store import AdapterStore
from adapters.store.canonical import canonical_digest
from adapters.validation.base_model import BaseModelShapes
from adapters.validation.validate import AdapterFacts, validate


class AdapterRegistry:
    """Named adapters for one base model; safe to use from several threads.

    Args:
        root: the data folder, made if absent. One registry at a time may own it.
        base: the base model that every adapter must fit.
        limits: bounds on uploads.
        reserved: names that adapters may not take, fixed or asked for each time. The base model's
            name is always reserved.
        storage: where names and contents are kept; in the data folder by default.

    Raises:
        StorageFailed: the store or the database refused.
    """

    def __init__(
        self,
        root: Path,
        base: BaseModelShapes,
        limits: Limits,
        reserved: Reserved = (),
        storage: Storage | None = None,
    ) -> None:
        self._base = base
        self._limits = limits
        self._reserved = reserved
        self._writing = threading.RLock()
        storage = storage or open_storage(Locations(root))
        self._store = storage.store
        self._rows = AdapterRows(storage.database)
        self._store.claim(self._rows.key)
        self._given_names: tuple[str, ...] = ()
        changes, sizes = self._rows.changes(-1), self._store.sizes()
        found, self._set_aside = self._taken_up(changes.rows, sizes.get)
        self._revision = changes.revision
        self._snapshot = Snapshot.of(found)
        self._read_given_names()
        # Before anything runs nobody can need what an upload that was cut off has left.
        self.collect_garbage()

    @property
    def store(self) -> AdapterStore:
        """Where the content is kept; uploads are best staged there too."""
        return self._store

    @property
    def is_shared(self) -> bool:
        """Whether other servers may change the same names."""
        return self._rows.is_shared

    @property
    def problems(self) -> list[Problem]:
        """Names whose records could not be taken up at start; they are skipped, not lost."""
        return self._set_aside.problems

    @property
    def given_names(self) -> tuple[str, ...]:
        """Every name that an adapter was ever given, by its number, which is its place here.

        A name that was taken away and given again stands here as often: its number is the last one,
        and no number ever stands for another name.
        """
        return self._given_names

    def get(self, name: str) -> Adapter:
        """The adapter of a name.

        Raises:
            AdapterNotFound: there is none.
        """
        return self._snapshot.named(name)

    def all(self) -> list[Adapter]:
        """All adapters, by name."""
        return list(self._snapshot.by_name.values())

    def now(self, name: str, expected: str | None) -> Adapter:
        """The adapter of a name, which must still have the expected digest, if one is expected.

        Raises:
            AdapterNotFound: the name is not taken.
            VersionConflict: its digest is another one.
        """
        now = self.get(name)
        if expected is not None and now.digest != expected:
            raise VersionConflict(
                f"adapter {name!r} has digest {now.digest}, not the one expected; look at it "
                "again, then repeat the change"
            )
        return now

    def versions(self, name: str) -> list[Version]:
        """The versions of a name that are kept, the latest first.

        Raises:
            AdapterNotFound: the name is not taken.
        """
        self.get(name)
        return self._rows.history(name)

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
        record = earlier(now, digest, self._rows, self._store)
        size_bytes = self._store.size_bytes(record.adapter.digest)
        check_still_fits(record, size_bytes, self._store, self._base, self._limits)
        return record.adapter

    def only_of(self, name: str) -> set[str]:
        """Digests of all versions of a name that no version of another name shares."""
        return self._rows.only_of(name)

    @property
    def limits(self) -> Limits:
        """Bounds on uploads."""
        return self._limits

    def check_name(self, name: str) -> None:
        """Let a name through that an adapter may have, taken or not.

        Raises:
            InvalidName: it breaks the rule, or the base model or a policy has it.
        """
        check_name(name, self._reserved)
        check_name(name, (self._base.name,))

    def check_new(
        self, name: str, folder: Path, routing: RoutingData | None = None
    ) -> AdapterFacts:
        """What :meth:`add` would refuse, found out beforehand; nothing is stored.

        Returns:
            What validation found, for :meth:`add`.

        Raises:
            InvalidName, InvalidAdapter, AdapterExists: as there.
        """
        self.check_name(name)
        if routing is not None:
            check_texts(routing, self._limits)
        facts = validate(folder, self._base, self._limits)
        existing = self._snapshot.by_name.get(name)
        holder = existing or self._set_aside.adapters.get(name)
        if holder is not None and canonical_digest(folder, facts) != holder.digest:
            raise AdapterExists(_taken(name, is_served=existing is not None))
        return facts

    def check_replacement(
        self, name: str, folder: Path, routing: RoutingData | None, expected: str | None
    ) -> AdapterFacts:
        """What :meth:`replace` would refuse, found out beforehand; nothing is stored.

        Returns:
            What validation found, for :meth:`replace`.

        Raises:
            AdapterNotFound, VersionConflict, InvalidAdapter: as there.
        """
        self.now(name, expected)
        if routing is not None:
            check_texts(routing, self._limits)
        return validate(folder, self._base, self._limits)

    def add(
        self,
        name: str,
        folder: Path,
        routing: RoutingData | None = None,
        facts: AdapterFacts | None = None,
    ) -> tuple[Adapter, bool]:
        """Validate the adapter in a folder, store it and give it a name.

        Args:
            name: what requests will call it.
            folder: its two files.
            routing: what the router may know of it.
            facts: what :meth:`check_new` has found; None to find it out here.

        Returns:
            The adapter, and whether the name is new. The same name with the same content returns
            the existing one unchanged.

        Raises:
            InvalidName: the name cannot be given.
            InvalidAdapter: the adapter cannot be served, or its routing data not be used.
            AdapterExists: the name is taken by other content.
            StorageFailed: the file system or the database refused.
        """
        self.check_name(name)
        routing = check_routing(routing or RoutingData(), self._limits)
        facts = facts or validate(folder, self._base, self._limits)
        with self._writing, self._rows.publishing():
            digest, is_new_content = self._store.put(folder, facts)
            existing = self._snapshot.by_name.get(name)
            if existing is not None and existing.digest == digest:
                return existing, False
            aside = self._set_aside.adapters.get(name)
            holder = existing or aside
            if holder is None or holder.digest == digest:
                if name in self._set_aside.unreadable:
                    self._rows.remove(name)
                adapter = described(name, digest, facts, routing, self._store)
                if aside is None:
                    self._put(adapter, None)
                else:
                    adapter = replace(adapter, version=aside.version, created=aside.created)
                    self._renew(adapter)
                return adapter, True
        if is_new_content:
            self._drop({digest})
        raise AdapterExists(_taken(name, is_served=existing is not None))

    def replace(
        self,
        name: str,
        folder: Path,
        routing: RoutingData | None = None,
        expected: str | None = None,
        facts: AdapterFacts | None = None,
    ) -> tuple[Adapter, bool]:
        """Give a name new content as its next version.

        Args:
            name: a name that is taken.
            folder: the new content's two files.
            routing: new routing data; by default they stay as they are.
            expected: the digest that the name must have now; None for any.
            facts: what :meth:`check_replacement` has found; None to find it out here.

        Returns:
            The adapter, and whether the content is another one than before.

        Raises:
            AdapterNotFound: the name is not taken.
            VersionConflict: its digest is not the expected one.
            InvalidAdapter: the new content cannot be served, or its routing data not be used; the
                old content then stays.
            StorageFailed: the file system or the database refused.
        """
        self.now(name, expected)
        facts = facts or validate(folder, self._base, self._limits)
        with self._writing, self._rows.publishing():
            now = self.now(name, expected)
            kept = check_routing(routing or now.routing, self._limits)
            digest, _ = self._store.put(folder, facts)
            if digest == now.digest:
                return (now if routing is None else self.set_routing(name, kept)), False
            adapter = described(name, digest, facts, kept, self._store)
            adapter = replace(adapter, version=now.version + 1)
            self._put(adapter, now.version)
            return adapter, True

    def restore(self, name: str, digest: str, expected: str | None = None) -> Adapter:
        """Make an earlier content of a name its next version.

        Args:
            name: a name that is taken.
            digest: of the version to go back to, or the digest's beginning.
            expected: the digest that the name must have now; None for any.

        Raises:
            AdapterNotFound: the name is not taken.
            VersionNotFound: it has no such version.
            VersionConflict: its digest is not the expected one.
            InvalidAdapter: that content does not fit the base model or the limits of now.
        """
        with self._writing, self._rows.publishing():
            now = self.now(name, expected)
            earlier = self.version(name, digest)
            if earlier.digest == now.digest:
                return now
            adapter = replace(
                earlier, version=now.version + 1, created=time.time(), routing=now.routing
            )
            self._put(adapter, now.version)
            return adapter

    def set_routing(self, name: str, routing: RoutingData, expected: str | None = None) -> Adapter:
        """Replace what the router may know of an adapter.

        Args:
            name: a name that is taken.
            routing: all of it; nothing of the old is kept.
            expected: the digest that the name must have now; None for any.

        Raises:
            AdapterNotFound: there is no such adapter.
            InvalidRouting: the data cannot be used.
            VersionConflict: its digest is another one, or has been changed by another server.
        """
        check_routing(routing, self._limits)
        with self._writing:
            adapter = replace(self.now(name, expected), routing=routing)
            self._rows.set_routing(name, adapter.version, routing)
            self._show(adapter)
            return adapter

    def begin_removal(self, name: str) -> Adapter:
        """Mark a name as one that is being removed: kept, so that a restart goes on with it.

        Raises:
            AdapterNotFound: there is no such adapter.
            StorageFailed: the database refused; nothing has changed.
        """
        with self._writing:
            aside = self._set_aside.adapters.get(name)
            now = aside or self.get(name)
            if now.removing:
                return now
            self._rows.set_removing(name)
            going = replace(now, removing=True)
            if aside is None:
                self._snapshot = self._snapshot.including(going)
            else:
                self._set_aside.adapters[name] = going
            return going

    def being_removed(self) -> list[Adapter]:
        """The adapters whose removal has begun and not ended, those set aside included."""
        served = {a.name: a for a in self.all()}
        return [a for a in {**self._set_aside.adapters, **served}.values() if a.removing]

    def remove(self, name: str, *, keep_blob: bool = True) -> Adapter:
        """Take a name away with all its versions, also one that was set aside at start.

        Args:
            name: the adapter's name.
            keep_blob: leave the contents for requests that still use them, until
                ``collect_garbage``. Without it, what no other version shares goes at once.

        Raises:
            AdapterNotFound: there is no such adapter.
        """
        with self._writing:
            adapter = self._set_aside.adapters.get(name) or self.get(name)
            digests = self._rows.only_of(name)
            self._rows.remove(name)
            self._snapshot = self._snapshot.without(name)
            self._set_aside.settle(name)
        if not keep_blob:
            self._drop(digests)
        return adapter

    def collect_garbage(self, in_use: Collection[str] = ()) -> list[str]:
        """Remove content that no version stands for and nobody uses; return what went.

        Nothing goes while another server on the same database stores an adapter.
        """
        with self._writing, self._rows.collecting() as alone:
            if not alone:
                return []
            return self._store.remove_all_except(self._rows.digests() | set(in_use))

    def refresh(self) -> Refreshed:
        """Take up what other servers on the same database have changed since the last look.

        Raises:
            StorageFailed: the store or the database refused; the next look takes it up.
        """
        with self._writing:
            changes = self._rows.changes(self._revision)
            self._snapshot, seen = refreshed(
                changes,
                self._snapshot,
                self._set_aside,
                lambda rows: self._taken_up(rows, self._store.size_bytes),
            )
            self._read_given_names()
            self._revision = changes.revision
            return seen

    def close(self) -> None:
        """Close the connections to the database."""
        self._rows.close()

    def _taken_up(
        self, rows: Iterable[Mapping[str, Any]], size_of: Callable[[str], int | None]
    ) -> tuple[list[Adapter], SetAside]:
        return load_names(rows, size_of, self._store, self._base, self._limits)

    def _drop(self, digests: Collection[str]) -> None:
        """Remove contents, but for those that a version stands for by now."""
        with self._writing, self._rows.collecting() as alone:
            if alone:
                for digest in set(digests) - self._rows.digests():
                    self._store.remove(digest)

    def _put(self, adapter: Adapter, before: int | None) -> None:
        """Write the record, then show the adapter: what can be seen is kept."""
        record = Record(adapter, fit_key(self._base))
        try:
            self._rows.put(record, before, self._limits.max_versions)
        except VersionConflict as conflict:
            if before is None:
                raise AdapterExists(_taken(adapter.name, is_served=True)) from conflict
            raise
        if before is None:
            self._read_given_names()
        self._show(adapter)

    def _read_given_names(self) -> None:
        """Take up the names that were given since the last look; they only ever grow."""
        self._given_names += tuple(self._rows.given_names(len(self._given_names)))

    def _renew(self, adapter: Adapter) -> None:
        """Take up again a name that was set aside, under its old version."""
        self._rows.renew(Record(adapter, fit_key(self._base)))
        self._rows.set_routing(adapter.name, adapter.version, adapter.routing)
        self._show(adapter)

    def _show(self, adapter: Adapter) -> None:
        self._snapshot = self._snapshot.including(adapter)
        self._set_aside.settle(adapter.name)


def _taken(name: str, *, is_served: bool) -> str:
    if is_served:
        return (
            f"the name {name!r} is taken by an adapter with other content; choose another name, or "
            "replace or remove that one"
        )
    return (
        f"the name {name!r} is held by an adapter that could not be loaded at start; remove it "
        "first, or choose another name"
    )
