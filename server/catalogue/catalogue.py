"""What can be asked for: the base model, the adapters, the policies.

Keeps four views of the adapters in step: the registry (disk), the router's index, the engine's
model names and the slots. An adapter is put into all of them or into none.
"""

import asyncio
import logging
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from adapters.adapter import Adapter, RoutingData
from adapters.errors import StorageFailed
from adapters.files import adapter_folders
from adapters.names import plain
from adapters.registry.registry import AdapterRegistry
from router.mixture import Combination
from router.policies.config import DEFAULT_POLICY
from router.router import Router
from server.access.keys import AdapterRule
from server.catalogue.combinations import check_ranks
from server.catalogue.measurement import StillWanted, always_wanted, measured
from server.catalogue.names import Names
from server.catalogue.numbers import Numbers
from server.catalogue.removal import AdapterRemovals, Removal
from server.catalogue.routing_data import read_routing, usable_centroids
from server.catalogue.visibility import Visibility
from server.engine.errors import EngineError
from server.errors import AdapterBeingRemoved, NameBeingRemoved
from server.metrics import Metrics
from server.residency.residency import Residency

logger = logging.getLogger(__name__)


class NamedEngine(Protocol):
    """What the catalogue needs of the engine."""

    model_name: str

    def set_models(self, names: Collection[str]) -> None:
        """Say which names requests may give as their model."""


class Catalogue:
    """The adapters of one server, and what may be done with them. One event loop only.

    Attributes:
        changing: held while names change, so that changes take turns.
        removals: those that go on now.
    """

    def __init__(
        self,
        engine: NamedEngine,
        router: Router,
        registry: AdapterRegistry,
        residency: Residency,
        metrics: Metrics,
        default_policy: str = DEFAULT_POLICY,
    ) -> None:
        self.base = engine.model_name
        self.router = router
        self.registry = registry
        self._engine = engine
        self._residency = residency
        self._metrics = metrics
        self.changing = asyncio.Lock()
        self.removals = AdapterRemovals(
            registry, residency, self.changing, self.publish, self._forget
        )
        self._collecting = asyncio.Lock()
        self._default_policy = default_policy
        self._names = Names(self.base, {}, router.policies, default_policy)
        self._visibility = Visibility()

    @property
    def names(self) -> Names:
        """All that requests can name now; replaced whole at every change."""
        return self._names

    def visible_to(self, rule: AdapterRule) -> Names:
        """What a caller can name now."""
        return self._visibility.narrowed(self._names, self.router.policies, rule)

    def visible_adapters(self, rule: AdapterRule) -> Collection[str] | None:
        """Adapters that the router may choose for a caller; None for all."""
        if rule.is_all and not self._names.removing:
            return None
        return self.visible_to(rule).adapters.keys()

    async def open(self) -> None:
        """Take up what is on disk: index it, name it, fill the free slots."""
        for problem in self.registry.problems:
            logger.warning("adapter %s was left out: %s", problem.name, problem.reason)
        serving = [adapter for adapter in self.registry.all() if not adapter.removing]
        await asyncio.to_thread(self._index_all, serving)
        self.publish()
        await self.removals.resume()
        for adapter in sorted(serving, key=lambda a: a.name not in self._residency.pinned):
            try:
                await self._residency.warm(adapter.digest)
            except StorageFailed as error:  # it may come back, and then loads when it is needed
                logger.warning("adapter %s is not loaded yet: %s", adapter.name, error)

    async def add(
        self,
        name: str,
        folder: Path,
        routing: RoutingData | None = None,
        still_wanted: StillWanted = always_wanted,
    ) -> tuple[Adapter, bool]:
        """Take an adapter in; when this returns, requests can use it.

        Args:
            name: what requests will call it.
            folder: its two files, anywhere.
            routing: what the router may know of it. Its centroids are measured here if missing,
                once all else has been judged.
            still_wanted: asked while they are measured.

        Returns:
            The adapter, and whether it is new.

        Raises:
            NameBeingRemoved: an adapter of this name is being removed.
            AdapterError: it cannot be served, or not under this name.
            RoutingError: its routing data cannot be used.
            EngineError: the engine refused it. Nothing is left behind.
        """
        self.refuse_removed(name)
        facts = await asyncio.to_thread(self.registry.check_new, name, folder, routing)
        if routing is not None:
            routing = await measured(routing, self.router.encoder, still_wanted)
        async with self.changing:
            self.refuse_removed(name)
            adapter, created = await asyncio.to_thread(
                self.registry.add, name, folder, routing, facts
            )
            if not created and routing is not None:
                adapter = await asyncio.to_thread(self.registry.set_routing, name, routing)
            try:
                await self._residency.warm(adapter.digest)
            except (EngineError, StorageFailed):
                if created:
                    await asyncio.to_thread(self.registry.remove, name, keep_blob=False)
                raise
            if created or routing is not None:
                self._index(adapter)
            self.publish()
        return adapter, created

    async def replace(
        self,
        name: str,
        folder: Path,
        routing: RoutingData | None,
        expected: str | None,
        still_wanted: StillWanted = always_wanted,
    ) -> tuple[Adapter, bool]:
        """Give a name new content; requests that come from now on get it, running ones keep theirs.

        Args:
            name: a name that is taken.
            folder: the two files, anywhere.
            routing: what the router may know from now on; None to keep what it knows.
            expected: the digest that the name must have now; None for any.
            still_wanted: asked while centroids are measured, once all else has been judged.

        Returns:
            The adapter, and whether its content is another one than before.

        Raises:
            AdapterNotFound: there is none of that name.
            NameBeingRemoved: it is being removed.
            VersionConflict: it has another digest.
            AdapterError, RoutingError, EngineError: as :meth:`add`; the old content then stays.
        """
        self.refuse_removed(name)
        facts = await asyncio.to_thread(
            self.registry.check_replacement, name, folder, routing, expected
        )
        if routing is not None:
            routing = await measured(routing, self.router.encoder, still_wanted)
        async with self.changing:
            self.refuse_removed(name)
            before = self.registry.get(name)
            adapter, changed = await asyncio.to_thread(
                self.registry.replace, name, folder, routing, expected, facts
            )
            await self._serve_version(adapter, before)
        return adapter, changed

    async def restore(self, name: str, digest: str, expected: str | None) -> Adapter:
        """Give a name an earlier content of its own again.

        Args:
            name: a name that is taken.
            digest: the content's, or its first 8 characters or more.
            expected: the digest that the name must have now; None for any.

        Raises:
            AdapterNotFound: there is none of that name.
            VersionNotFound: it has no such version.
            VersionConflict: it has another digest.
            NameBeingRemoved: it is being removed.
            AdapterError, EngineError: it cannot be served any more; the content of now then stays.
        """
        async with self.changing:
            self.refuse_removed(name)
            before = self.registry.get(name)
            adapter = await asyncio.to_thread(self.registry.restore, name, digest, expected)
            await self._serve_version(adapter, before)
        return adapter

    async def remove(self, name: str) -> Removal:
        """Begin to take an adapter out; it goes once running requests are done with it.

        From now on nothing can use the name, and nothing brings it back.

        Raises:
            AdapterNotFound: there is none of that name.
            StorageFailed: the database refused; nothing has changed.
        """
        return await self.removals.begin(name)

    async def import_folder(self, folder: Path) -> list[str]:
        """Add every adapter of a folder (one subfolder each) whose name is free; say which."""
        added: list[str] = []
        for entry in await asyncio.to_thread(adapter_folders, folder):
            if entry.name not in self.names.adapters and entry.name not in self.names.removing:
                routing = await asyncio.to_thread(read_routing, entry)
                await self.add(entry.name, entry, routing)
                added.append(entry.name)
        return added

    def publish(self) -> None:
        """Let requests see what there is now."""
        adapters = {a.name: a for a in self.registry.all() if not a.removing}
        removing = {a.name: a for a in self.registry.all() if a.removing}
        self._names = Names(
            self.base,
            adapters,
            self.router.policies,
            self._default_policy,
            numbers=Numbers(self.registry.given_names, adapters.keys()),
            removing=removing,
        )
        self._residency.set_names({name: adapter.digest for name, adapter in adapters.items()})
        # A request that leased an adapter before its removal began is still to be let through.
        self._engine.set_models([*adapters, *removing, *self.router.policies])

    async def refresh(self) -> None:
        """Take up what other servers on the same database have changed.

        Raises:
            StorageFailed: the database or the store refused; the next time takes it up.
        """
        async with self.changing:
            changes = await asyncio.to_thread(self.registry.refresh)
            if not changes:
                return
            for problem in changes.problems:
                logger.warning("adapter %s is left out: %s", problem.name, problem.reason)
            for name in changes.gone:
                self.router.remove_adapter(name)
                self._metrics.forget(name)
            serving = [adapter for adapter in changes.changed if not adapter.removing]
            await asyncio.to_thread(self._index_all, serving)
            self.publish()

    async def check_present(self, members: Collection[tuple[str, str]]) -> None:
        """Let adapters through, given as (name, digest), whose content is still kept.

        A request keeps the digests that it began with: what has been replaced since stays for as
        long as a lease needs it. So whoever asks must lease before it awaits anything else: what is
        neither leased nor waited for may be thrown away at the next change of a version.

        Raises:
            AdapterBeingRemoved: one of them has been removed meanwhile.
        """
        store = self.registry.store
        earlier = {digest for _, digest in members} - {
            adapter.digest for adapter in self.names.adapters.values()
        }
        missing: list[str] = []
        if earlier:
            async with self._collecting:  # what is there now stays: it is leased before the next
                missing = [d for d in earlier if not await asyncio.to_thread(store.has, d)]
        for name, digest in members:
            if plain(name) not in self.names.adapters or digest in missing:
                raise AdapterBeingRemoved(
                    f"adapter {name!r} has just been removed; send the request again without it"
                )

    async def check_combination(
        self, combination: Combination, members: Collection[tuple[str, str]]
    ) -> None:
        """Let a combination through that is defined for its members (see ``combinations``)."""
        if combination != "cat":
            await asyncio.to_thread(check_ranks, self.registry, combination, members)

    def show(self, adapter: Adapter) -> None:
        """Let the router have what is known of an adapter now, and requests its name."""
        self._index(adapter)
        self.publish()

    def is_lent(self, name: str, digest: str) -> bool:
        """Whether a name stands for this content now, and requests may use it."""
        now = self._names.adapters.get(name)
        return now is not None and now.digest == digest and not self._residency.refuses(digest)

    def check_name(self, name: str) -> None:
        """Let a name through that an adapter may have, before anything is read of that adapter.

        Raises:
            InvalidName: it breaks the rule, or the base model or a policy has it.
            AdaptersBusy: an adapter of this name is being removed.
        """
        self.registry.check_name(name)
        self.refuse_removed(name)

    def refuse_removed(self, name: str) -> None:
        """Let a name through that is not being removed.

        Raises:
            NameBeingRemoved: it is.
        """
        if any(adapter.name == name for adapter in self.registry.being_removed()):
            raise NameBeingRemoved(
                f"adapter {name!r} is being removed; its name can be used again once running "
                "requests are done with it",
                retry_after=1,
            )

    async def _serve_version(self, adapter: Adapter, before: Adapter) -> None:
        """Let requests have a version; if the engine refuses it, the one before comes back."""
        try:
            await self._residency.warm(adapter.digest)
        except (EngineError, StorageFailed):
            await asyncio.to_thread(self.registry.restore, before.name, before.digest)
            raise
        self.show(adapter)
        # Versions beyond those that are kept have gone, but a running request may still have one.
        async with self._collecting:
            await asyncio.to_thread(self.registry.collect_garbage, self._residency.needed)

    def _forget(self, name: str) -> None:
        """Take a name that is gone out of what is kept here."""
        self.router.remove_adapter(name)
        self.publish()
        self._metrics.forget(name)

    def _index(self, adapter: Adapter) -> None:
        self.router.add_adapter(adapter.name, adapter.digest, adapter.routing)

    def _index_all(self, adapters: Collection[Adapter]) -> None:
        self.router.add_adapters(
            (adapter.name, adapter.digest, usable_centroids(adapter, self.router.encoder))
            for adapter in adapters
        )
