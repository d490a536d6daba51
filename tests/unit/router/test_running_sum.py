"""A sum that moves with its window equals one made anew, whatever the steps."""

import random

import pytest

from router.encoders.static import StaticEncoder
from router.policies.options import Window
from router.running_sum import RunningSum, parts
from router.window import RoutingInput

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


@pytest.mark.parametrize("part", ["head", "tail", "last_message", "whole"])
@pytest.mark.parametrize("pieces", [None, 1, 7, 60])
def test_a_moving_window_leaves_nothing_behind(static, part, pieces):
    window, rng = Window(part=part, pieces=pieces), random.Random(f"{part}{pieces}")
    spoken = RoutingInput((("system", "Write a function."), ("user", "Sort a list of words.")))
    answer = [rng.randrange(30, 900) for _ in range(50)]
    grown = RunningSum.of(static, window, spoken)
    text = spoken.last_message if part == "last_message" else spoken.whole
    prompt = static.ids(text)
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
