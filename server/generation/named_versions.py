"""Versions that a request names: ``name@digest``."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Final

from adapters.adapter import Adapter
from adapters.errors import AdapterNotFound, VersionNotFound
from adapters.names import AT
from adapters.registry.registry import AdapterRegistry
from server.access.keys import AdapterRule
from server.catalogue.catalogue import Catalogue
from server.catalogue.names import Names
from server.errors import MixtureTooLarge
from server.generation.given_mixture import versions_named
from server.generation.selection import without_base

MOST: Final = 64
"""Versions that one request may name: each is looked for in the database."""


async def names_for(catalogue: Catalogue, rule: AdapterRule, body: Mapping[str, Any]) -> Names:
    """What a caller can name now, with the versions that its request names.

    Args:
        catalogue: where the adapters are.
        rule: the caller's allow-list.
        body: the request's.

    Raises:
        MixtureTooLarge: it names too many versions.
        InvalidAdapter: one of them does not fit the base model or the limits of now.
        StorageFailed: the database refused.
    """
    names = catalogue.visible_to(rule)
    said = {without_base(one, names) for one in versions_named(body)}
    if not said:
        return names
    if len(said) > MOST:
        raise MixtureTooLarge(f"{len(said)} versions are named; a request may name {MOST}")
    versions = await asyncio.to_thread(_found, said, names, catalogue.registry)
    return replace(names, versions=versions)


def _found(
    said: Collection[str], names: Names, registry: AdapterRegistry
) -> dict[str, Adapter | None]:
    """The versions of adapters that are seen; nothing of others, whether they exist or not."""
    found: dict[str, Adapter | None] = {}
    for one in said:
        name, _, digest = one.partition(AT)
        if name not in names.adapters:
            continue
        try:
            found[one] = registry.version(name, digest)
        except VersionNotFound:
            found[one] = None
        except AdapterNotFound:  # removed since the names were read
            continue
    return found
