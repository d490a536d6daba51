"""New routing data for an adapter whose content stays as it is."""

import asyncio
from typing import Final

from adapters.adapter import Adapter
from adapters.errors import VersionConflict
from server.catalogue.catalogue import Catalogue
from server.catalogue.measurement import StillWanted, always_wanted, measured
from server.catalogue.routing_data import RoutingFields, changed_routing

_TRIES: Final = 3


async def describe(
    catalogue: Catalogue,
    name: str,
    fields: RoutingFields,
    expected: str | None,
    still_wanted: StillWanted = always_wanted,
) -> Adapter:
    """Change what the router knows of an adapter; requests that come from now on are routed by it.

    Centroids are measured before anybody has to wait; a change that comes meanwhile is not undone.

    Args:
        catalogue: where the adapter is.
        name: its name.
        fields: what changes: see ``server.catalogue.routing_data.changed_routing``.
        expected: the digest that it must have now; None for any.
        still_wanted: asked while centroids are measured.

    Raises:
        AdapterNotFound: there is none of that name.
        VersionConflict: it has another digest, or keeps being changed by others.
        InvalidRouting, RoutingError: the data cannot be used; nothing has changed.
        NameBeingRemoved: it is being removed.
    """
    catalogue.refuse_removed(name)
    registry, encoder = catalogue.registry, catalogue.router.encoder
    for _ in range(_TRIES):
        before = registry.now(name, expected)
        changed = await asyncio.to_thread(
            changed_routing, before.routing, fields, encoder.space.name, registry.limits
        )
        routing = await measured(changed, encoder, still_wanted)
        async with catalogue.changing:
            if registry.get(name) != before:
                continue
            catalogue.refuse_removed(name)
            adapter = await asyncio.to_thread(registry.set_routing, name, routing, expected)
            catalogue.show(adapter)
            return adapter
    raise VersionConflict(f"adapter {name!r} is being changed by others; try again later")
