"""Short prompts in the forms of the four demo tasks, each another one, all of like length."""

from collections.abc import Sequence

_WAYS = ("Anna", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Henry")
_THINGS = ("pens", "apples", "books", "cups", "chairs", "stamps", "coins", "lamps")
_TOPICS = ("ice", "plants", "magnets", "rain", "iron", "sound", "light", "rocks")

MOST = 4 * len(_WAYS)


def prompts(count: int) -> Sequence[str]:
    """So many prompts, the tasks in turn.

    Raises:
        ValueError: there are not that many.
    """
    if not 0 < count <= MOST:
        raise ValueError(f"there are 1 to {MOST} prompts, not {count}")
    return [_prompt(number % 4, number // 4) for number in range(count)]


def _prompt(task: int, way: int) -> str:
    name, thing, topic = _WAYS[way], _THINGS[way], _TOPICS[way]
    return (
        f"Question: {name} buys {way + 5} {thing} at ${way + 2} each. How much does {name} pay?",
        f"Question: What do we know about {topic}?\nChoices:\nA. It is alive\nB. It is matter",
        f"Write a Python function that sorts a list of {thing} by price and prints the first.",
        f"Context:\n{name} sold {way + 3} {thing} in the town.\n\nQuestion: What did {name} sell?",
    )[task] + "\n\nAnswer:"
