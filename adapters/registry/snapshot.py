"""All adapters at one moment, by name."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from adapters.adapter import Adapter
from adapters.errors import AdapterNotFound, shown


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Never changes once made, so that readers need no lock.

    Attributes:
        by_name: name → adapter, in the order of names.
    """

    by_name: Mapping[str, Adapter] = field(default_factory=dict)

    @classmethod
    def of(cls, adapters: Iterable[Adapter]) -> "Snapshot":
        """Order by name."""
        ordered = sorted(adapters, key=lambda adapter: adapter.name)
        return cls({adapter.name: adapter for adapter in ordered})

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


def unknown(name: str) -> AdapterNotFound:
    """The error for a name that stands for no adapter."""
    return AdapterNotFound(f"there is no adapter named {shown(name)}")
