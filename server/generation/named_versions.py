"""What a name of a request stands for: an adapter, or as ``name@digest`` a version of one.

The versions that a request names are looked up in the database, all at once and beforehand; what is
read afterwards asks nobody.
"""

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Final

from adapters.adapter import Adapter
from adapters.errors import AdapterNotFound, VersionNotFound, shown
from adapters.names import AT, plain, version_name
from adapters.registry.registry import AdapterRegistry
from router.mixture import Member
from server.access.keys import AdapterRule
from server.catalogue.catalogue import Catalogue
from server.catalogue.names import Names
from server.errors import MixtureTooLarge, ModelNotFound

MAX_VERSIONS: Final = 64
"""Versions that one request may name: each is looked for in the database."""


async def names_for(catalogue: Catalogue, rule: AdapterRule, given: Iterable[str]) -> Names:
    """What a caller can name now, with the versions that its request names.

    Args:
        catalogue: where the adapters are.
        rule: the caller's allow-list.
        given: every name of the request, whatever it stands for.

    Raises:
        MixtureTooLarge: it names too many versions.
        InvalidAdapter: one of them does not fit the base model or the limits of now.
        StorageFailed: the database refused.
    """
    names = catalogue.visible_to(rule)
    versions = {names.without_base(name) for name in given if AT in name}
    if not versions:
        return names
    if len(versions) > MAX_VERSIONS:
        raise MixtureTooLarge(
            f"the request names {len(versions)} versions of adapters; it may name {MAX_VERSIONS}"
        )
    found = await asyncio.to_thread(_found, versions, names, catalogue.registry)
    return replace(names, versions=found)


def _found(
    versions: Collection[str], names: Names, registry: AdapterRegistry
) -> dict[str, Adapter | None]:
    """Versions of visible adapters; nothing of others, whether they exist or not."""
    found: dict[str, Adapter | None] = {}
    for version in versions:
        name, _, digest = version.partition(AT)
        if name not in names.adapters:
            continue
        try:
            found[version] = registry.version(name, digest)
        except VersionNotFound:
            found[version] = None
        except AdapterNotFound:  # removed since the names were read
            continue
    return found


def member_named(name: str, weight: float, param: str, names: Names) -> Member:
    """The adapter, or the version of one, that a request names.

    Args:
        name: as the request has it.
        weight: what it gets.
        param: the field of the request that errors tell.
        names: what :func:`names_for` gave for this name.

    Raises:
        ModelNotFound: there is no such adapter.
        AdapterBeingRemoved: it is being removed.
        VersionNotFound: the adapter has no version of that digest.
    """
    adapter, version = names.adapters.get(name), names.versions.get(name)
    if version is not None:
        return Member(version_name(version), version.digest, weight)
    if name in names.versions:
        raise VersionNotFound(
            f"{shown(name)} is not exactly one version that is kept; GET /v1/adapters/"
            f"{plain(name)}/versions lists them: name one by 8 characters of its digest or more",
            param,
        )
    if adapter is None:
        names.refuse_removing(name, param)
        kind = "model, adapter or policy" if param == "model" else "adapter"
        raise ModelNotFound(
            f"there is no {kind} {shown(name)}; GET /v1/models lists what there is", param=param
        )
    return Member(name, adapter.digest, weight)
