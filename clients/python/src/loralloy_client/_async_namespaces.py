"""What a server holds, by kind, for asyncio."""

from __future__ import annotations

import asyncio
import builtins
from typing import TYPE_CHECKING

from loralloy_client import _adapter_requests as adapter_requests
from loralloy_client import _policy_requests as policy_requests
from loralloy_client import _requests as requests
from loralloy_client._async_connection import AsyncConnection
from loralloy_client._form import Progress
from loralloy_client._options import RoutingData
from loralloy_client.resources import (
    Adapter,
    AdapterList,
    AdapterVersion,
    AdapterVersionList,
    Model,
    ModelList,
    Policy,
    PolicyList,
    PolicyVersion,
    PolicyVersionList,
    RemovedAdapter,
    RemovedPolicy,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack


class AsyncAdapters:
    """The adapters of a server."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def list(self) -> builtins.list[Adapter]:
        """Every adapter."""
        return (await self._connection.send(requests.get("/v1/adapters"), AdapterList)).data

    async def get(self, name: str) -> Adapter:
        """One adapter."""
        return await self._connection.send(requests.get("/v1/adapters", name), Adapter)

    async def push(
        self,
        name: str,
        path: adapter_requests.PathOrText | None = None,
        *,
        config: adapter_requests.PathOrText | None = None,
        weights: adapter_requests.PathOrText | None = None,
        progress: Progress | None = None,
        **routing: Unpack[RoutingData],
    ) -> Adapter:
        """Upload an adapter; it serves at once.

        Args:
            name: what requests will call it.
            path: a PEFT folder, whose router.json is sent too, or a .zip or .tar.gz of one.
            config: adapter_config.json, instead of a path.
            weights: adapter_model.safetensors, with ``config``.
            progress: called with bytes sent and their total; from 0 again if sending is repeated.
            routing: ``description``, ``examples`` or ``centroids`` with ``encoder``, by which
                policies choose it.

        Raises:
            ValueError: a path and files are given, or neither.
            OSError: a file is missing or cannot be read.
            AdapterExists: the name has other content.
            InvalidAdapter: it cannot be served; the subclasses say why.
        """
        request = await asyncio.to_thread(
            adapter_requests.push, name, path, (config, weights), routing, progress
        )
        return await self._connection.send(request, Adapter)

    async def replace(
        self,
        name: str,
        path: adapter_requests.PathOrText | None = None,
        *,
        config: adapter_requests.PathOrText | None = None,
        weights: adapter_requests.PathOrText | None = None,
        expected: str | None = None,
        progress: Progress | None = None,
        **routing: Unpack[RoutingData],
    ) -> Adapter:
        """Give an adapter new content as its next version; running requests keep theirs.

        Args:
            name: the adapter's name.
            path: as for ``push``.
            config: as for ``push``.
            weights: as for ``push``.
            expected: the digest that it must have now; None for any.
            progress: as for ``push``.
            routing: as for ``push``; without any they stay as they are.

        Raises:
            ValueError, OSError, InvalidAdapter: as for ``push``.
            VersionConflict: it has another digest than the expected one.
        """
        request = await asyncio.to_thread(
            adapter_requests.replacement, name, path, (config, weights), routing, progress, expected
        )
        return await self._connection.send(request, Adapter)

    async def versions(self, name: str) -> builtins.list[AdapterVersion]:
        """The contents that an adapter has had, the latest first."""
        request = requests.get("/v1/adapters", name, "versions")
        return (await self._connection.send(request, AdapterVersionList)).data

    async def restore(self, name: str, digest: str, *, expected: str | None = None) -> Adapter:
        """Make an earlier content of an adapter its next version.

        Args:
            name: the adapter's name.
            digest: of the version, or its first 8 characters or more.
            expected: the digest that it must have now; None for any.

        Raises:
            VersionNotFound: it has no such version.
            VersionConflict: it has another digest than the expected one.
        """
        request = adapter_requests.restoration(name, digest, expected)
        return await self._connection.send(request, Adapter)

    async def describe(
        self, name: str, *, expected: str | None = None, **routing: Unpack[RoutingData]
    ) -> Adapter:
        """Tell the router what an adapter is for; its content stays.

        Args:
            name: the adapter's name.
            expected: the digest that it must have now; None for any.
            routing: what changes, as for ``push``; None takes away what there was.

        Raises:
            OSError: the file of examples cannot be read.
            InvalidRouting: ``param`` is the field at fault.
            VersionConflict: it has another digest than the expected one.
        """
        request = adapter_requests.description(name, routing, expected)
        return await self._connection.send(request, Adapter)

    async def remove(self, name: str) -> RemovedAdapter:
        """Remove an adapter, once running requests are done with it.

        Where that takes long, what is given says so, with the job that ends with it.
        """
        return await self._connection.send(adapter_requests.remove(name), RemovedAdapter)


class AsyncPolicies:
    """The policies of a server."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def list(self) -> builtins.list[Policy]:
        """Every policy."""
        return (await self._connection.send(requests.get("/v1/policies"), PolicyList)).data

    async def get(self, name: str) -> Policy:
        """One policy."""
        return await self._connection.send(requests.get("/v1/policies", name), Policy)

    async def put(
        self, name: str, options: requests.Json, *, expected: str | None = None
    ) -> Policy:
        """Add a policy or replace one; requests that come from now on get it.

        Args:
            name: what requests will call it.
            options: as a file of policies has them, with ``kind``.
            expected: the version that it must have now; None for any, or none at all.

        Raises:
            InvalidPolicy: ``param`` is the option at fault.
            PolicyNameTaken: an adapter or the base model has the name.
            PolicyVersionConflict: it has another version than the expected one.
        """
        return await self._connection.send(policy_requests.put(name, options, expected), Policy)

    async def versions(self, name: str) -> builtins.list[PolicyVersion]:
        """What was put under a name, the latest first; nothing for a policy of the file."""
        request = requests.get("/v1/policies", name, "versions")
        return (await self._connection.send(request, PolicyVersionList)).data

    async def remove(self, name: str, *, expected: str | None = None) -> RemovedPolicy:
        """Remove a policy that was put; the server's file may have one of that name.

        Raises:
            PolicyNotRemovable: it is of the server's file.
            PolicyVersionConflict: it has another version than the expected one.
        """
        return await self._connection.send(policy_requests.remove(name, expected), RemovedPolicy)


class AsyncModels:
    """Every name that a generation can give as ``model``."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def list(self) -> builtins.list[Model]:
        """Every model."""
        return (await self._connection.send(requests.get("/v1/models"), ModelList)).data

    async def get(self, name: str) -> Model:
        """One model."""
        return await self._connection.send(requests.get("/v1/models", name), Model)
