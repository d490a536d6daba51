"""The samples: pieces of texts as a router meets them, whole and while they grow.

A request's text is embedded again and again as its answer grows, so each text is learnt as a whole,
as prefixes, and as spans from its middle (what a ``tail`` window shows).
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from tokenizers import Tokenizer

from router.errors import NoExamples

Kind = Literal["whole", "prefix", "span"]

MOST_TOKENS = 256
"""Tokens of the longest sample: about what MiniLM reads."""

FEWEST_TOKENS = 4
"""Tokens of the shortest prefix or span."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One file of texts; its name is the file's, without the ending."""

    name: str
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """A stretch of a text: as text for the teacher, as the base model's token ids for the student.

    ``topic`` is the number of its file in the list.
    """

    text: str
    ids: tuple[int, ...]
    topic: int
    kind: Kind


def read_topics(paths: Sequence[Path]) -> list[Topic]:
    """The texts of each file: one a line; in ``.jsonl`` a string, or an object with a ``text``.

    Raises:
        NoExamples: a file holds no text, or two files have one name.
        OSError: a file cannot be read.
    """
    topics = [Topic(path.stem, _texts_of(path)) for path in paths]
    names = [topic.name for topic in topics]
    for name in names:
        if names.count(name) > 1:
            raise NoExamples(f"two files of texts are called {name!r}; names tell topics apart")
    return topics


def _texts_of(path: Path) -> tuple[str, ...]:
    try:
        # Not splitlines: JSON strings may hold other line separators, such as U+2028, as they are.
        lines = path.read_text(encoding="utf-8").split("\n")
        texts = [_said(line) for line in lines if line.strip()] if _is_json(path) else lines
    except UnicodeDecodeError as err:
        raise NoExamples(f"{path.name} is not UTF-8 text") from err
    except (ValueError, KeyError, TypeError) as err:
        raise NoExamples(
            f"each line of {path.name} must be a JSON string, or an object with a 'text'"
        ) from err
    kept = tuple(text for text in texts if text.strip())
    if not kept:
        raise NoExamples(f"{path.name} holds no text")
    return kept


def _is_json(path: Path) -> bool:
    return path.suffix == ".jsonl"


def _said(line: str) -> str:
    value = json.loads(line)
    text = value["text"] if isinstance(value, dict) else value
    if not isinstance(text, str):
        raise TypeError(type(text).__name__)
    return text


def drawn(topic: Topic, limit: int | None, rng: np.random.Generator) -> Topic:
    """``limit`` of the topic's texts in random order, or all of them."""
    order = rng.permutation(len(topic.texts))[:limit]
    return Topic(topic.name, tuple(topic.texts[number] for number in order))


def parted(topic: Topic, share: float) -> tuple[Topic, Topic]:
    """The topic without the last ``share`` of its texts, and those: at least one text each.

    Raises:
        NoExamples: the topic has but one text.
    """
    count = len(topic.texts)
    if count < 2:
        raise NoExamples(f"topic {topic.name!r} needs two texts or more: some are held out")
    held = min(count - 1, max(1, round(count * share)))
    return Topic(topic.name, topic.texts[:-held]), Topic(topic.name, topic.texts[-held:])


def samples_of(
    topics: Iterable[Topic], tokenizer: Tokenizer, rng: np.random.Generator, pieces: int
) -> list[Sample]:
    """Of each text its whole, ``pieces − 1`` prefixes and one span; fewer where it is too short."""
    return [
        sample
        for number, topic in enumerate(topics)
        for text in topic.texts
        for sample in _pieces_of(text, number, tokenizer, rng, pieces)
    ]


def _pieces_of(
    text: str, topic: int, tokenizer: Tokenizer, rng: np.random.Generator, pieces: int
) -> list[Sample]:
    encoded = tokenizer.encode(text, add_special_tokens=False)
    ids, offsets = encoded.ids, encoded.offsets
    bounds: list[tuple[int, int, Kind]] = [(0, min(len(ids), MOST_TOKENS), "whole")]
    if len(ids) > 2 * FEWEST_TOKENS and pieces > 0:
        bounds += [(0, _length(len(ids), rng), "prefix") for _ in range(pieces - 1)]
        length = _length(len(ids), rng)
        start = int(rng.integers(0, len(ids) - length + 1))
        bounds.append((start, start + length, "span"))
    cuts = (
        (text[offsets[start][0] : offsets[stop - 1][1]], tuple(ids[start:stop]), kind)
        for start, stop, kind in bounds
        if stop > start
    )
    return [Sample(cut, part, topic, kind) for cut, part, kind in cuts if cut.strip()]


def _length(count: int, rng: np.random.Generator) -> int:
    """Tokens of a piece, short and long ones alike often: uniform in the logarithm."""
    longest = min(count, MOST_TOKENS)
    return int(np.exp(rng.uniform(np.log(FEWEST_TOKENS), np.log(longest))))
