"""Names for stored adapters, kept across restarts.

    <root>/blobs/<digest>/      content (see ``adapters.store``)
    <root>/names/<name>.json    one record per name, replaced atomically

The registry is the only way in: it validates, stores, then names. Names are cheap, several may
share one content. Content without a name is kept until it is asked to be collected, since a request
that is still running may need it.

Writers take turns; readers never wait for them, as they read a snapshot that is replaced whole.
"""

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from adapters.adapter import Adapter, RoutingData
from adapters.base_identity import public_name
from adapters.base_model import BaseModelShapes
from adapters.errors import AdapterExists, AdapterNotFound, InvalidRouting, shown
from adapters.files import storage_errors, sync_folder, write_atomically
from adapters.limits import Limits
from adapters.names import Reserved, check_name
from adapters.records import (
    MAX_RECORD_BYTES,
    RECORD_SUFFIX,
    Problem,
    Record,
    check_routing,
    encode_record,
    fit_key,
)
from adapters.restart import load_names
from adapters.store import AdapterStore
from adapters.validation import AdapterFacts, validate


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """All adapters at one moment; never changed once made."""

    by_name: Mapping[str, Adapter] = field(default_factory=dict)
    by_digest: Mapping[str, Adapter] = field(default_factory=dict)

    @classmethod
    def of(cls, adapters: Iterable[Adapter]) -> "_Snapshot":
        """Order by name; of several names for one digest the first counts."""
        ordered = sorted(adapters, key=lambda adapter: adapter.name)
        return cls(
            {adapter.name: adapter for adapter in ordered},
            {adapter.digest: adapter for adapter in reversed(ordered)},
        )


class AdapterRegistry:
    """Named adapters for one base model; safe to use from several threads.

    Args:
        root: The data folder, made if absent. One registry at a time may own it.
        base: The base model that every adapter must fit.
        limits: Bounds on uploads.
        reserved: Names that adapters may not take, fixed or asked for each time. The base model's
            name is always reserved.

    Attributes:
        problems: Names whose records could not be taken up at start; they are skipped, not lost.
    """

    def __init__(
        self, root: Path, base: BaseModelShapes, limits: Limits, reserved: Reserved = ()
    ) -> None:
        self._base = base
        self._limits = limits
        self._reserved = reserved
        self._writing = threading.RLock()
        self._store = AdapterStore(root)
        self._names_folder = root.resolve() / "names"
        loaded = load_names(self._names_folder, self._store, base, limits)
        self._snapshot = _Snapshot.of(loaded.adapters)
        self._set_aside = dict(loaded.set_aside)
        self._unreadable = set(loaded.unreadable)
        self.problems: list[Problem] = list(loaded.problems)

    @property
    def store(self) -> AdapterStore:
        """Where the content is kept; uploads are best staged there too."""
        return self._store

    def add(
        self, name: str, folder: Path, routing: RoutingData | None = None
    ) -> tuple[Adapter, bool]:
        """Validate the adapter in a folder, store it and give it a name.

        Returns:
            The adapter, and whether the name is new. The same name with the same content returns
            the existing one unchanged.

        Raises:
            InvalidName: the name cannot be given.
            InvalidAdapter: the adapter cannot be served, or its routing data not be used.
            AdapterExists: the name is taken by other content.
            StorageFailed: the file system refused.
        """
        check_name(name, self._reserved)
        check_name(name, (self._base.name,))
        routing = check_routing(routing or RoutingData(), self._limits)
        facts = validate(folder, self._base, self._limits)
        with self._writing:
            digest, is_new_content = self._store.put(folder, facts)
            existing = self._snapshot.by_name.get(name)
            if existing is not None and existing.digest == digest:
                return existing, False
            holder = existing or self._set_aside.get(name)
            if holder is not None and holder.digest != digest:
                if is_new_content:
                    self._store.remove(digest)
                raise AdapterExists(_taken(name, is_served=existing is not None))
            adapter = self._describe(name, digest, facts, routing)
            self._keep(adapter)
            return adapter, True

    def replace(self, name: str, folder: Path, routing: RoutingData | None = None) -> Adapter:
        """Give a name new content, keeping its routing data unless new ones are given.

        Raises:
            AdapterNotFound: the name is not taken.
            InvalidAdapter: as ``add``; the old content then stays.
        """
        self.get(name)
        facts = validate(folder, self._base, self._limits)
        with self._writing:
            kept = check_routing(routing or self.get(name).routing, self._limits)
            digest, _ = self._store.put(folder, facts)
            adapter = self._describe(name, digest, facts, kept)
            self._keep(adapter)
            return adapter

    def get(self, name: str) -> Adapter:
        """The adapter of a name.

        Raises:
            AdapterNotFound: there is none.
        """
        adapter = self._snapshot.by_name.get(name)
        if adapter is None:
            raise AdapterNotFound(f"there is no adapter named {shown(name)}")
        return adapter

    def all(self) -> list[Adapter]:
        """All adapters, by name."""
        return list(self._snapshot.by_name.values())

    def by_digest(self, digest: str) -> Adapter:
        """The adapter of a digest; the first by name where several names share it.

        Raises:
            AdapterNotFound: there is none.
        """
        adapter = self._snapshot.by_digest.get(digest)
        if adapter is None:
            raise AdapterNotFound(f"there is no adapter with the digest {shown(digest)}")
        return adapter

    def set_routing(self, name: str, routing: RoutingData) -> Adapter:
        """Replace what the router may know of an adapter.

        Raises:
            AdapterNotFound: there is no such adapter.
            InvalidRouting: the data cannot be used.
        """
        check_routing(routing, self._limits)
        with self._writing:
            adapter = replace(self.get(name), routing=routing)
            self._keep(adapter)
            return adapter

    def remove(self, name: str, *, keep_blob: bool = True) -> Adapter:
        """Take a name away, also one that was set aside at start.

        Args:
            name: The adapter's name.
            keep_blob: Leave the content for requests that still use it, until
                ``collect_garbage``. Without it, content that no other name shares goes at once.

        Raises:
            AdapterNotFound: there is no such adapter.
        """
        with self._writing:
            adapter = self._set_aside.get(name) or self.get(name)
            with storage_errors("remove an adapter's record"):
                self._record_path(name).unlink(missing_ok=True)
                sync_folder(self._names_folder)
            self._snapshot = _Snapshot.of(a for a in self.all() if a.name != name)
            self._settle(name)
            if not keep_blob and adapter.digest not in self._used_digests():
                self._store.remove(adapter.digest)
            return adapter

    def collect_garbage(self) -> list[str]:
        """Remove content that no name stands for; return the digests that went.

        While some record cannot be read nothing goes, since it may be what the record is about.
        """
        with self._writing:
            if self._unreadable:
                return []
            return self._store.remove_all_except(self._used_digests())

    def _describe(
        self, name: str, digest: str, facts: AdapterFacts, routing: RoutingData
    ) -> Adapter:
        return Adapter(
            name=name,
            digest=digest,
            path=self._store.path(digest),
            base_model=public_name(facts.config.base_model),
            rank=facts.rank,
            ranks=facts.ranks,
            lora_alpha=facts.config.lora_alpha,
            target_modules=facts.target_modules,
            size_bytes=self._store.size_bytes(digest),
            parameters=facts.parameters,
            created=time.time(),
            routing=routing,
        )

    def _keep(self, adapter: Adapter) -> None:
        """Write the record, then show the adapter: what can be seen is on disk."""
        record = encode_record(Record(adapter, fit_key(self._base)))
        if len(record) > MAX_RECORD_BYTES:
            raise InvalidRouting(
                f"the routing data take {len(record)} bytes; {MAX_RECORD_BYTES} are kept at most"
            )
        with storage_errors("write an adapter's record"):
            write_atomically(self._record_path(adapter.name), record)
        others = (a for a in self.all() if a.name != adapter.name)
        self._snapshot = _Snapshot.of([*others, adapter])
        self._settle(adapter.name)

    def _settle(self, name: str) -> None:
        """The name's trouble at start is over."""
        self._set_aside.pop(name, None)
        self._unreadable.discard(name)
        self.problems = [problem for problem in self.problems if problem.name != name]

    def _record_path(self, name: str) -> Path:
        return self._names_folder / f"{name}{RECORD_SUFFIX}"

    def _used_digests(self) -> set[str]:
        return {adapter.digest for adapter in (*self.all(), *self._set_aside.values())}


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
