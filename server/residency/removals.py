"""Contents on their way out: lent to nobody, unless a name is given one of them meanwhile."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from server.errors import AdapterBeingRemoved


@dataclass(eq=False, slots=True)
class Removal:
    """One content that goes with the last name that had it.

    Attributes:
        digest: of the content.
        cancelled: whether it stays after all, since another name has it.
    """

    digest: str
    cancelled: bool


class Removals:
    """Those that go on now.

    To drain a content takes as long as the longest answer. A name that is given the same content in
    that time must find it usable at once, and for as long as it has it.
    """

    def __init__(self) -> None:
        self._named: frozenset[str] = frozenset()
        self._going: list[Removal] = []

    def any_of(self, digests: Collection[str]) -> bool:
        """Whether one of these goes."""
        return any(removal.digest in digests for removal in self._going)

    def refuse(self, digests: Collection[str]) -> None:
        """Let contents through that stay.

        Raises:
            AdapterBeingRemoved: one of them goes.
        """
        if self.any_of(digests):
            raise adapter_removed()

    def set_names(self, digests: Iterable[str]) -> bool:
        """Say which contents names stand for, but for names that go; whether any stays for it."""
        self._named = frozenset(digests)
        spared = [removal for removal in self._going if removal.digest in self._named]
        for removal in spared:
            removal.cancelled = True
            self._going.remove(removal)
        return bool(spared)

    @contextmanager
    def going(self, digest: str) -> Iterator[Removal]:
        """Let a content go for the length of the block, unless it is named."""
        removal = Removal(digest, cancelled=digest in self._named)
        if not removal.cancelled:
            self._going.append(removal)
        try:
            yield removal
        finally:
            if not removal.cancelled:
                self._going.remove(removal)


def adapter_removed() -> AdapterBeingRemoved:
    """The error of a request whose adapter is removed before it has it."""
    return AdapterBeingRemoved(
        "an adapter of this request has just been removed; send the request again without it"
    )
