"""llama.cpp's numbers of adapters: 0, 1, 2 …, as each API key sees them.

A key's numbers count the names that its allow-list allows, in the order in which they were given,
those that have been taken away since included. So a number never stands for another adapter, it is
the same after a restart and on every server of one database, and neither numbers nor gaps between
them tell of adapters that the key does not see.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property

from server.access.keys import ALL_ADAPTERS, AdapterRule


class Numbers:
    """The numbers of one moment, for one allow-list; counted when they are first asked for.

    Args:
        given: every name that an adapter was ever given, in their order.
        present: the names of adapters that can be named now.
        rule: the allow-list.
    """

    def __init__(
        self,
        given: Sequence[str] = (),
        present: Collection[str] = (),
        rule: AdapterRule = ALL_ADAPTERS,
    ) -> None:
        self._given = given
        self._present = present
        self._rule = rule

    def narrowed(self, rule: AdapterRule) -> "Numbers":
        """The numbers of the same moment for another allow-list."""
        return Numbers(self._given, self._present, rule)

    def name_of(self, number: int) -> str | None:
        """The adapter of a number; None if there is none, whether there was one or not."""
        return self.names.get(number)

    @cached_property
    def names(self) -> Mapping[int, str]:
        """Number → name, by rising number."""
        allowed = [name for name in self._given if self._rule.allows(name)]
        latest = {name: number for number, name in enumerate(allowed)}  # given again: a new one
        return {n: name for n, name in enumerate(allowed) if self._is_now(n, name, latest)}

    def _is_now(self, number: int, name: str, latest: Mapping[str, int]) -> bool:
        return latest[name] == number and name in self._present
