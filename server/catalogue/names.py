"""The names that a request can give, as whoever sends it sees them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from adapters.adapter import Adapter
from adapters.names import plain
from router.policies.config import DEFAULT_POLICY
from server.catalogue.numbers import Numbers
from server.errors import ActionDenied, AdapterBeingRemoved


@dataclass(frozen=True, slots=True)
class Names:
    """What can be named: the base model, the adapters that take requests, the policies.

    Attributes:
        base: the base model's name.
        adapters: by name.
        policies: names of policies, barred ones included.
        default_policy: the one of requests that name no model.
        barred: policies that need an adapter which whoever asks may not use.
        numbers: llama.cpp's: number → name, of adapters that can be named.
        versions: what one request names as ``name@digest``, by just that text; None where there is
            no such version.
        removing: adapters that are being removed, by name: they take no new requests.
    """

    base: str
    adapters: Mapping[str, Adapter]
    policies: Collection[str]
    default_policy: str = DEFAULT_POLICY
    barred: Collection[str] = frozenset()
    versions: Mapping[str, Adapter | None] = field(default_factory=dict)
    numbers: Numbers = field(default_factory=Numbers, compare=False)
    removing: Mapping[str, Adapter] = field(default_factory=dict)

    @property
    def usable(self) -> list[str]:
        """The policies that are not barred."""
        return [name for name in self.policies if name not in self.barred]

    def without_base(self, model: str) -> str:
        """A model's name without the base model's before it: ``base:name`` or ``base::name``."""
        name = model.removeprefix(f"{self.base}:")
        return model if name == model else name.removeprefix(":")

    def refuse_removing(self, name: str, param: str) -> None:
        """Let a name through, or ``name@digest``, that is not being removed.

        Args:
            name: as the request has it.
            param: the field of the request that says so.

        Raises:
            AdapterBeingRemoved: it is.
        """
        if plain(name) in self.removing:
            raise AdapterBeingRemoved(
                f"adapter {plain(name)!r} is being removed and takes no new requests", param=param
            )

    def check_policy(self, name: str) -> None:
        """Let a policy through that may be used.

        Raises:
            ActionDenied: it is barred. Which adapter it is about is not told.
        """
        if name in self.barred:
            raise barred(name)


def barred(policy: str) -> ActionDenied:
    """What is said of a policy that needs an adapter which whoever asks may not use."""
    return ActionDenied(
        f"policy {policy!r} needs adapters that this API key may not use, or that are not there; "
        "use another policy",
        param="policy",
    )
