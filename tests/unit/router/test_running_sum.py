"""A sum that moves with its window equals one made anew, whatever the steps."""

import random

import numpy as np
import pytest

from router.encoders.static import StaticEncoder
from router.policies.options import Window
from router.running_sum import RunningSum, both_ends, parts
from router.window import RoutingInput, embedding_of, stretches

SPANS = {
    ("last_message", None): ([0, 1, 2, 3, 4, 5], list(range(9))),
    ("whole", None): ([0, 1, 2, 3, 4, 5], list(range(9))),
    ("whole", 4): ([0, 1, 2, 3], [5, 6, 7, 8]),
    ("last_message", 8): ([0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6, 7, 8]),
    ("head", 4): ([0, 1, 2, 3], []),
    ("head", 8): ([0, 1, 2, 3, 4, 5], [0, 1]),
    ("tail", 4): ([], [5, 6, 7, 8]),
    ("tail", 11): ([4, 5], list(range(9))),
    ("tail", 99): ([0, 1, 2, 3, 4, 5], list(range(9))),
}


@pytest.mark.parametrize(("window", "expected"), SPANS.items())
def test_which_tokens_count(window, expected):
    asked, answered = parts(Window(part=window[0], pieces=window[1]), 6, 9)
    assert (list(range(6))[asked], list(range(9))[answered]) == expected


@pytest.fixture(scope="module")
def static(tiny_base, tiny_static):
    return StaticEncoder(str(tiny_static), tokenizer=tiny_base)


@pytest.mark.parametrize("part", ["head", "tail", "last_message", "conversation", "whole"])
@pytest.mark.parametrize("pieces", [None, 1, 7, 60])
def test_a_moving_window_leaves_nothing_behind(static, part, pieces):
    window, rng = Window(part=part, pieces=pieces), random.Random(f"{part}{pieces}")
    spoken = RoutingInput((("system", "Write a function."), ("user", "Sort a list of words.")))
    answer = [rng.randrange(30, 900) for _ in range(50)]
    grown = RunningSum.of(static, window, spoken)
    is_last = part in ("last_message", "conversation")
    prompt = static.ids(spoken.last_message if is_last else spoken.whole)
    prompt = both_ends(prompt, pieces) if is_last else prompt
    length = 0
    while length <= len(answer):
        asked, answered = parts(window, len(prompt), length)
        anew = static.begin_ids([*prompt[asked], *answer[:length][answered]])
        state = grown.state(answer[:length])
        assert state.count == anew.count
        assert (static.embedding(state) == static.embedding(anew)).all()
        length += rng.randrange(1, 9)


def test_nothing_said_is_an_empty_sum(static):
    assert RunningSum.of(static, Window(), RoutingInput(text="")).state([]).count == 0


def test_the_two_ends_of_a_long_message_count():
    assert both_ends(range(50), 32) == [*range(8), *range(42, 50)]
    assert both_ends(range(32), 32) == range(32)
    assert both_ends(range(9), None) == range(9)
    assert both_ends(range(50), 31) == range(50), "too few for two ends: its beginning counts"


TALK = RoutingInput(
    (("user", "Write a function."), ("assistant", "def add(a, b)"), ("user", "Why sort words?"))
)


@pytest.mark.parametrize("spoken", [TALK, RoutingInput((*TALK.messages[:-1], ("user", "?!")))])
def test_a_conversation_has_the_embedding_of_its_parts(static, spoken):
    window = Window(part="conversation")
    grown = RunningSum.of(static, window, spoken)
    state = grown.state([])
    row = static.embedding(state) if state.count else None
    wanted = embedding_of(stretches(spoken, window, static), static)
    np.testing.assert_allclose(grown.embedding(row), wanted, atol=1e-6)
    more = static.embedding(grown.state([40, 41, 42]))
    assert np.abs(grown.embedding(more) - wanted).max() > 1e-4


def test_without_a_talk_the_sum_is_the_embedding(static):
    grown = RunningSum.of(static, Window(part="conversation"), RoutingInput(text="Sort words."))
    row = static.embedding(grown.state([]))
    assert grown.embedding(row) is row
    assert grown.embedding(None) is None


def test_blanks_and_texts_without_words_take_no_tokens(static):
    for part in ("head", "tail", "last_message", "conversation", "whole"):
        window = Window(part=part, pieces=24)
        silent = RunningSum.of(static, window, RoutingInput(text="?!..."))
        assert silent.state([]).count == 0
        far = RunningSum.of(static, window, RoutingInput(text="\n" * 17_000 + "Sort words."))
        assert far.state([]).count == len(static.ids("\n" * 16 + "Sort words."))
