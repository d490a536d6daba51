"""What a name may hold, known from what the server has acknowledged and what it was asked."""

import asyncio
from dataclasses import dataclass, field

Content = int | None
"""A variant's number; None where the name holds nothing."""


@dataclass
class Name:
    """One adapter's name. One change of it is on its way at most.

    Attributes:
        name: the name.
        tried: every content that was acknowledged or asked for, the latest last.
        acknowledged: position in ``tried`` of the latest content that was acknowledged.
    """

    name: str
    tried: list[Content] = field(default_factory=lambda: [None])
    acknowledged: int = 0
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def content(self) -> Content:
        """What was acknowledged last."""
        return self.tried[self.acknowledged]

    def try_(self, content: Content) -> None:
        """A change is asked for."""
        self.tried.append(content)

    def settle(self, content: Content) -> None:
        """It was acknowledged, or found to be so or otherwise after a restart."""
        self.tried.append(content)
        self.acknowledged = len(self.tried) - 1

    @property
    def possible(self) -> set[Content]:
        """What it may hold now: what was acknowledged, or what has been asked for since."""
        return self.since(self.acknowledged)

    def since(self, position: int) -> set[Content]:
        """All that it may have held since ``acknowledged`` was ``position``."""
        return set(self.tried[position:])
