"""Decisions made anew where an adapter is removed between reading the index and leasing it.

Whoever named the adapter hears of it, as whoever comes just after the removal does. Whoever left
the choice to a policy does not: the policy decides again by what there is now, and, if that goes
on, without what went.
"""

from collections.abc import Collection
from typing import Final

from adapters.errors import AdapterNotFound, MissingFile, StorageFailed, VersionNotFound
from adapters.names import plain
from server.catalogue.catalogue import Catalogue
from server.errors import AdapterBeingRemoved, AdaptersBusy
from server.generation.selection import Selection

MAX_TRIES: Final = 8
FREE_TRIES: Final = 3
"""Tries by all that there is; later ones do without the adapters that went meanwhile."""

MISSING: Final = (
    AdapterBeingRemoved,
    AdapterNotFound,
    VersionNotFound,
    MissingFile,
    StorageFailed,
)
"""What a look at an adapter ends in that has gone since the last one."""

Members = Collection[tuple[str, str]]
"""(name, digest) of adapters."""


class Tries:
    """The tries of one request.

    Attributes:
        without: names of adapters that the next decision does without.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.without: frozenset[str] = frozenset()
        self._catalogue = catalogue
        self._made = 0
        self._gone: set[str] = set()

    def again(self, error: Exception, selection: Selection | None, members: Members) -> None:
        """Let a request try again whose adapters were removed meanwhile.

        Args:
            error: what it has met, one of ``MISSING``.
            selection: what it selected; None if it did not come to that.
            members: what was decided, if it came to that.

        Raises:
            Exception: the error itself, where no removal is its cause, or the request has named the
                adapter and has tried often enough.
            AdaptersBusy: a policy keeps choosing what is removed.
        """
        self._made += 1
        gone = {plain(name) for name, digest in members if not self._is_there(name, digest)}
        if selection is None or selection.mixture is not None:
            # What it named is looked up anew, which then tells whether it is removed, or gone.
            if self._made >= FREE_TRIES or not _is_worth_a_look(error, selection, gone):
                raise error
            return
        if not gone and not isinstance(error, AdapterBeingRemoved):
            raise error
        if self._made >= MAX_TRIES:
            raise AdaptersBusy(
                "the adapters that the policy chooses are being removed, one after the other; try "
                "again later",
                retry_after=1,
            ) from error
        self._gone |= gone
        if self._made >= FREE_TRIES:
            self.without = frozenset(self._gone)

    def _is_there(self, name: str, digest: str) -> bool:
        return self._catalogue.is_lent(plain(name), digest)


def _is_worth_a_look(error: Exception, selection: Selection | None, gone: Collection[str]) -> bool:
    """Whether a new look at the names may explain an error better."""
    if selection is None:  # they have been looked at just now
        return isinstance(error, MissingFile)
    return bool(gone) or not isinstance(error, StorageFailed)
