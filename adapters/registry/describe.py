"""The adapter that has just been stored, as the registry shows it."""

import time

from adapters.adapter import Adapter, RoutingData
from adapters.errors import StorageFailed
from adapters.store import AdapterStore
from adapters.validation.base_identity import public_name
from adapters.validation.validate import AdapterFacts


def described(
    name: str, digest: str, facts: AdapterFacts, routing: RoutingData, store: AdapterStore
) -> Adapter:
    """The first version of a name, from what validation found in its files.

    Raises:
        StorageFailed: its content is not in the store, or the store refused.
    """
    size_bytes = store.size_bytes(digest)
    if size_bytes is None:
        raise StorageFailed("could not keep an adapter: its content has gone from the store")
    return Adapter(
        name=name,
        digest=digest,
        path=store.path(digest),
        base_model=public_name(facts.config.base_model),
        rank=facts.rank,
        ranks=facts.ranks,
        lora_alpha=facts.config.lora_alpha,
        target_modules=facts.target_modules,
        size_bytes=size_bytes,
        parameters=facts.parameters,
        created=time.time(),
        routing=routing,
        warnings=facts.warnings,
    )
