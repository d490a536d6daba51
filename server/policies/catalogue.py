"""What may be done with the policies of a running server.

Keeps three views of them in step: their registry (file and database), the router and the names that
requests can give. Requests under way keep the policies that they began with.
"""

import asyncio
import logging

from router.errors import RoutingError
from router.policies import PolicyConfig
from router.policies.config import parse_policy
from server.catalogue.catalogue import Catalogue
from server.errors import PolicyNameTaken
from server.metrics import Metrics
from server.policies.registry import PolicyRegistry

logger = logging.getLogger(__name__)


class PolicyCatalogue:
    """Puts and removes policies. One event loop only.

    Attributes:
        registry: which policies there are, and where they come from.
    """

    def __init__(self, catalogue: Catalogue, registry: PolicyRegistry, metrics: Metrics) -> None:
        self.registry = registry
        self._catalogue = catalogue
        self._metrics = metrics

    def open(self) -> None:
        """Take up what the database has, before requests come."""
        self._take_up()

    async def put(
        self, name: str, options: object, expected: str | None
    ) -> tuple[PolicyConfig, bool]:
        """Add or replace a policy; requests that come from now on get it.

        Args:
            name: what requests will call it.
            options: as a file of policies has them.
            expected: the version that it must have now, ``*`` for whichever; None for any or none.

        Returns:
            The policy, and whether the name is new.

        Raises:
            InvalidPolicy: with the field at fault.
            NoStaticEncoder: it asks for one, and there is none.
            PolicyNameTaken: the base model or an adapter has the name.
            PolicyVersionConflict: it has another version.
            StorageFailed: the database refused.
        """
        policy = parse_policy(name, options, at=())
        router = self._catalogue.router
        router.encoder_for(policy, name)
        if name == self._catalogue.base:
            raise PolicyNameTaken(
                f"{name!r} is the base model's name; choose another name", param="name"
            )
        async with self._catalogue.changing:
            is_new = await asyncio.to_thread(self.registry.put, name, policy, expected)
            router.put_policy(name, policy)
            self._catalogue.publish()
        return policy, is_new

    async def remove(self, name: str, expected: str | None) -> PolicyConfig | None:
        """Drop a policy that was put; the file's of that name, if there is one, counts again.

        Returns:
            The file's policy.

        Raises:
            UnknownPolicy, PolicyNotRemovable, PolicyVersionConflict, StorageFailed: as in
                :meth:`PolicyRegistry.remove`.
        """
        async with self._catalogue.changing:
            left = await asyncio.to_thread(self.registry.remove, name, expected)
            self._take_up()
            self._catalogue.publish()
        return left

    async def refresh(self) -> None:
        """Take up what other servers on the same database have changed.

        Raises:
            StorageFailed: the database refused; the next time takes it up.
        """
        async with self._catalogue.changing:
            if await asyncio.to_thread(self.registry.refresh) and self._take_up():
                self._catalogue.publish()

    def _take_up(self) -> bool:
        """Bring the router in step with the registry; say whether it was not."""
        router, before = self._catalogue.router, self._catalogue.router.policies
        for name, policy in self.registry.policies.items():
            if router.policies.get(name) != policy:
                self._use(name, policy)
        for name in before.keys() - self.registry.policies.keys():
            router.remove_policy(name)
        for name in before.keys() - router.policies.keys():
            self._metrics.forget_policy(name)
        return dict(before) != dict(router.policies)

    def _use(self, name: str, policy: PolicyConfig) -> None:
        """Let the router have a policy, or the file's one if it cannot be used on this server."""
        router, own = self._catalogue.router, self.registry.from_file.get(name)
        try:
            router.put_policy(name, policy)
        except RoutingError as error:
            logger.warning("the policy %s of the database is left out: %s", name, error)
            if own is None:
                router.remove_policy(name)
            else:
                router.put_policy(name, own)
