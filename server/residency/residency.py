"""Leases over the engine's adapter slots.

The slots are a cache over an unbounded registry. A request leases all members of its mixtures at
once and keeps them until its answer is finished. What is missing is loaded off the request path,
one adapter at a time; which adapter makes room, :mod:`server.residency.eviction` says.

Fairness: waiting requests are served in their order. When the first of them finds every slot
leased, enough adapters are set to drain: requests that need one of those wait behind it, and
requests whose members are all resident pass. So nobody starves, and no slot idles.
Pinned adapters make room for nobody: the slots that they do not take are what others share.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from server.errors import AdaptersBusy, MixtureTooLarge
from server.residency.eviction import next_to_drain, next_to_evict
from server.residency.removals import Removals, adapter_removed
from server.residency.settings import ResidencySettings
from server.residency.slot_loader import SlotLoader

_DEFAULTS: Final = ResidencySettings()


@dataclass(eq=False, slots=True)
class _Ticket:
    """One request in the queue: what it needs, and how it learns that it has it."""

    digests: tuple[str, ...]
    granted: asyncio.Future[None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Residency:
    """Which adapters are in the engine, who uses them and who waits. One event loop only.

    Attributes:
        capacity: slots of the engine.
        pinned: names of adapters that make room for nobody.
        hits: requests whose adapters all were in slots, since the start.
        misses: requests that had to wait for a load or a slot.
        evictions: adapters that made room for another one.
    """

    def __init__(
        self,
        loader: SlotLoader,
        capacity: int,
        *,
        max_waiting: int = _DEFAULTS.max_waiting,
        max_wait_s: float = _DEFAULTS.max_wait_s,
        pinned: Collection[str] = (),
        on_load: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self.pinned = pinned
        self.capacity = capacity
        self._loader = loader
        self._max_waiting = max_waiting
        self._max_wait_s = max_wait_s
        self._on_load = on_load
        self._resident: OrderedDict[str, None] = OrderedDict()
        self._leases: Counter[str] = Counter()
        self._kept: frozenset[str] = frozenset()
        self._draining: set[str] = set()
        self._removals = Removals()
        self._queue: deque[_Ticket] = deque()
        self._changed = asyncio.Event()
        self._moving = asyncio.Lock()
        self._pump: asyncio.Task[None] | None = None
        self.hits = self.misses = self.evictions = 0

    @property
    def resident(self) -> tuple[str, ...]:
        """Digests in slots, the least recently used first."""
        return tuple(self._resident)

    @property
    def needed(self) -> set[str]:
        """Digests in slots, and those that waiting requests are for."""
        return {*self._resident, *(digest for one in self._queue for digest in one.digests)}

    @property
    def leases(self) -> int:
        """Leases that are held now, one for each adapter of each request."""
        return self._leases.total()

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    def leases_of(self, digest: str) -> int:
        """Requests that use an adapter now."""
        return self._leases[digest]

    def set_names(self, digests: Mapping[str, str]) -> None:
        """Say what the names stand for from now on, name → digest: that is pinned, and stays."""
        self._kept = frozenset(digests[name] for name in self.pinned if name in digests)
        if self._removals.set_names(digests.values()):
            self._wake()

    async def acquire(self, digests: Iterable[str]) -> None:
        """Hold adapters in their slots until :meth:`release`, waiting for slots if need be.

        Args:
            digests: of the adapters; each counts once. None needs no lease and never waits.

        Raises:
            MixtureTooLarge: more adapters than slots.
            AdaptersBusy: the queue is full, or did not move in time.
            AdapterBeingRemoved: one of them is being removed.
            StorageFailed: one of them cannot be fetched.
            EngineError: the engine refused one of them.
        """
        needed = _once(digests)
        if self.try_acquire(needed):
            self.hits += bool(needed)
            return
        self.misses += 1
        if len(self._queue) >= self._max_waiting:
            raise self._busy(
                f"all {self.capacity} adapter slots are in use and {len(self._queue)} requests "
                "wait already"
            )
        ticket = _Ticket(needed)
        self._queue.append(ticket)
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._serve_queue())
        try:
            async with asyncio.timeout(self._max_wait_s):
                await asyncio.shield(ticket.granted)
        except TimeoutError:
            self._withdraw(ticket)
            raise self._busy(
                f"no adapter slot came free within {self._max_wait_s:g} seconds"
            ) from None
        except asyncio.CancelledError:
            self._withdraw(ticket)
            raise

    def try_acquire(self, digests: Iterable[str]) -> bool:
        """Lease at once if every adapter is resident and stays; say whether it was done.

        Raises:
            MixtureTooLarge: more adapters than slots.
            AdapterBeingRemoved: one of them is being removed.
        """
        needed = _once(digests)
        pinned = len(self._kept.difference(needed))
        if len(needed) > self.capacity - pinned:
            kept = f", {pinned} of them kept for pinned adapters" if pinned else ""
            raise MixtureTooLarge(
                f"{len(needed)} adapters are needed at once, but the engine has "
                f"{self.capacity} slots{kept}; use fewer "
                "members (top_k), or start the server with more --max-loras"
            )
        self._removals.refuse(needed)
        if any(digest not in self._resident or digest in self._draining for digest in needed):
            return False
        self._grant(needed)
        return True

    def release(self, digests: Iterable[str]) -> None:
        """Give a lease back: of the digests that were acquired."""
        self._leases -= Counter(_once(digests))
        self._wake()

    def refuses(self, digest: str) -> bool:
        """Whether an adapter is lent to nobody, since it is being removed."""
        return self._removals.any_of({digest})

    async def warm(self, digest: str) -> None:
        """Load an adapter if a slot is free; evict nothing.

        Raises:
            StorageFailed: it cannot be fetched.
            EngineError: the engine refused it.
        """
        async with self._moving:
            if len(self._resident) >= self.capacity or digest in self._resident:
                return
            if not self._removals.any_of({digest}):
                await self._load(digest)

    @asynccontextmanager
    async def removing(self, digest: str) -> AsyncIterator[None]:
        """Drain an adapter, free its slot, and lend it to nobody for the length of the block.

        That takes as long as the longest answer. What another name stands for, or is given
        meanwhile, is not drained, and lent as ever.
        """
        with self._removals.going(digest) as removal:
            if not removal.cancelled:
                self._fail_waiting(digest)
            while self._leases[digest] and not removal.cancelled:
                await self._changed.wait()
            if not removal.cancelled:
                await self._unload(digest)
                self._wake()
            yield

    async def close(self) -> None:
        """Stop serving the queue; whoever waits is cancelled."""
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        for ticket in self._queue:
            ticket.granted.cancel()
        self._queue.clear()

    async def _serve_queue(self) -> None:
        """Serve tickets in their order: the one task that evicts, so nothing races it."""
        while self._queue:
            ticket = self._queue[0]
            [outcome] = await asyncio.gather(self._serve(ticket), return_exceptions=True)
            if isinstance(outcome, Exception) and not ticket.granted.done():
                ticket.granted.set_exception(outcome)
            self._draining.clear()
            self._queue.popleft()

    async def _serve(self, ticket: _Ticket) -> None:
        while not ticket.granted.done():
            self._removals.refuse(ticket.digests)
            missing = next((d for d in ticket.digests if d not in self._resident), None)
            if missing is None:
                self._grant(ticket.digests)
                ticket.granted.set_result(None)
                return
            if not await self._has_room(ticket):
                return
            async with self._moving:
                if missing not in self._resident and len(self._resident) < self.capacity:
                    await self._load(missing)

    async def _has_room(self, ticket: _Ticket) -> bool:
        """Free one slot for a ticket, waiting if need be; False if the ticket was withdrawn."""
        while len(self._resident) >= self.capacity and not ticket.granted.done():
            staying = self._kept.union(ticket.digests)
            idle = next_to_evict(self.resident, staying, self._leases)
            if idle is not None:
                self.evictions += await self._unload(idle)
                continue
            lacking = sum(digest not in self._resident for digest in ticket.digests)
            self._draining = next_to_drain(self.resident, staying, self._leases, lacking)
            await self._changed.wait()
        return not ticket.granted.done()

    def _wake(self) -> None:
        """Let everybody who waits for a change look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    def _grant(self, digests: Iterable[str]) -> None:
        for digest in digests:
            self._leases[digest] += 1
            self._resident.move_to_end(digest)

    def _withdraw(self, ticket: _Ticket) -> None:
        """Take a ticket out of the queue; if it was granted meanwhile, give the lease back."""
        granted = ticket.granted
        if granted.done() and not granted.cancelled() and granted.exception() is None:
            self.release(ticket.digests)
        granted.cancel()
        if ticket in self._queue and self._queue[0] is not ticket:
            self._queue.remove(ticket)
        self._wake()

    def _fail_waiting(self, digest: str) -> None:
        for ticket in self._queue:
            if digest in ticket.digests and not ticket.granted.done():
                ticket.granted.set_exception(adapter_removed())
        self._wake()

    def _busy(self, reason: str) -> AdaptersBusy:
        retry_after = max(1, min(30, round(self._max_wait_s / 4)))
        return AdaptersBusy(f"{reason}; try again later", retry_after=retry_after)

    async def _load(self, digest: str) -> None:
        started = asyncio.get_running_loop().time()
        await self._loader.load(digest, len(self._queue))
        self._on_load(asyncio.get_running_loop().time() - started)
        self._resident[digest] = None

    async def _unload(self, digest: str) -> bool:
        """Free a slot, if nobody leases the adapter, and say so; nobody can while it goes."""
        async with self._moving:
            if digest not in self._resident or self._leases[digest]:
                return False
            del self._resident[digest]
            await self._loader.unload(digest)
            return True


def _once(digests: Iterable[str]) -> tuple[str, ...]:
    """Each digest once, in the order in which they are to be loaded."""
    return tuple(dict.fromkeys(digests))
