"""Counts the tokens of a request's answers, in whichever form vLLM gives them."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

OnTokens = Callable[[Mapping[str, float], float, int], None]
"""Called with adapter → weight, the base model's share, and how many tokens were made so."""


class TokenCount:
    """The tokens of one prompt's answers.

    Args:
        is_delta: whether each output holds the new tokens alone; otherwise all so far.
    """

    def __init__(self, *, is_delta: bool) -> None:
        self._is_delta = is_delta
        self._counted: Counter[int] = Counter()

    def new(self, choice: Any) -> tuple[int, int]:
        """Of one choice of an output: tokens before it, and tokens that it adds."""
        before, given = self._counted[choice.index], len(choice.token_ids)
        fresh = given if self._is_delta else max(0, given - before)
        self._counted[choice.index] = before + fresh
        return before, fresh

    @property
    def total(self) -> int:
        """Tokens of all choices."""
        return self._counted.total()
