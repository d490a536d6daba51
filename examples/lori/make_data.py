"""Make two small tasks as JSON Lines: python examples/lori/make_data.py FOLDER."""

import json
import random
import sys
from pathlib import Path

ROWS = 800
NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
    "twenty",
)  # fmt: skip
WORDS = ("pear", "apple", "fig", "plum", "lemon", "cherry", "grape", "mango", "olive", "peach")


def sums(rng: random.Random) -> dict[str, str]:
    """Two numbers in words, and their sum."""
    one, other = rng.randint(0, 10), rng.randint(0, 10)
    return {
        "question": f"What is {NUMBERS[one]} plus {NUMBERS[other]}?",
        "answer": f"{NUMBERS[one]} and {NUMBERS[other]} make {NUMBERS[one + other]}.",
    }


def words(rng: random.Random) -> dict[str, str]:
    """Four words, and the same in order."""
    drawn = rng.sample(WORDS, 4)
    return {
        "question": f"Put in order: {', '.join(drawn)}.",
        "answer": f"{', '.join(sorted(drawn))}.",
    }


def main() -> None:
    """Write both files."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(0)
    for make in (sums, words):
        lines = (json.dumps(make(rng)) + "\n" for _ in range(ROWS))
        (folder / f"{make.__name__}.jsonl").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
