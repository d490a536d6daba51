"""All adapters at one moment, by name and by digest."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from adapters.adapter import Adapter
from adapters.errors import AdapterNotFound, shown


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Never changes once made, so that readers need no lock."""

    by_name: Mapping[str, Adapter] = field(default_factory=dict)
    by_digest: Mapping[str, Adapter] = field(default_factory=dict)

    @classmethod
    def of(cls, adapters: Iterable[Adapter]) -> "Snapshot":
        """Order by name; of several names for one digest the first counts."""
        ordered = sorted(adapters, key=lambda adapter: adapter.name)
        return cls(
            {adapter.name: adapter for adapter in ordered},
            {adapter.digest: adapter for adapter in reversed(ordered)},
        )

    def including(self, adapter: Adapter) -> "Snapshot":
        """The same with an adapter added, or put in its namesake's place."""
        return Snapshot.of([*self.without(adapter.name).by_name.values(), adapter])

    def without(self, name: str) -> "Snapshot":
        """The same without a name."""
        return Snapshot.of(a for a in self.by_name.values() if a.name != name)

    def named(self, name: str) -> Adapter:
        """The adapter of a name.

        Raises:
            AdapterNotFound: there is none.
        """
        adapter = self.by_name.get(name)
        if adapter is None:
            raise unknown(name)
        return adapter

    def of_digest(self, digest: str) -> Adapter:
        """The adapter of a digest.

        Raises:
            AdapterNotFound: there is none.
        """
        adapter = self.by_digest.get(digest)
        if adapter is None:
            raise AdapterNotFound(f"there is no adapter with the digest {shown(digest)}")
        return adapter


def unknown(name: str) -> AdapterNotFound:
    """What is said of a name that stands for no adapter."""
    return AdapterNotFound(f"there is no adapter named {shown(name)}")
