"""The centroids that an adapter's texts amount to, measured a few texts at a time.

Thousands of texts take minutes. Between two batches requests get their turn at the encoder, and
whoever asked for the measuring may have left: then it ends.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from adapters.adapter import RoutingData
from router.centroids.centroid import batches, centroid_of, centroids_of, texts_to_embed
from router.encoders import Encoder

StillWanted = Callable[[], Awaitable[None]]
"""Raises once nobody waits for the outcome any more."""


async def always_wanted() -> None:
    """For whoever waits to the end."""


async def measured(
    routing: RoutingData, encoder: Encoder, still_wanted: StillWanted = always_wanted
) -> RoutingData:
    """Routing data with the centroids that they amount to, if they amount to any.

    Args:
        routing: data that have been judged: how many texts there are is not looked at here.
        encoder: what embeds the texts.
        still_wanted: asked before each batch.

    Raises:
        RoutingError: they cannot be used with this encoder.
    """
    texts = texts_to_embed(encoder, routing)
    if texts:
        rows = []
        for batch in batches(texts):
            await still_wanted()
            rows.append(await asyncio.to_thread(encoder.encode, batch))
        found = await asyncio.to_thread(centroids_of, rows, encoder)
    else:
        ready = centroid_of(encoder, routing)
        if ready is None:
            return routing
        found = ready
    return replace(routing, centroids=tuple(map(tuple, found.tolist())), encoder=encoder.space.name)
