import numpy as np
import pytest

from router.policies.options import Window
from router.window import RoutingInput, embedding_of, stretches

CHAT = RoutingInput(
    messages=(
        ("system", "Be brief."),
        ("user", "What is a loop?"),
        ("assistant", "A repetition."),
        ("user", "And a river?"),
        ("assistant", " "),
    )
)
WORDS = ("the river flows down to a blue sea " * 125).split()  # one word piece each
LONG = " ".join(WORDS)


def test_the_last_message_is_the_users(encoder):
    assert stretches(CHAT, Window(), encoder) == ["And a river?"]


def test_without_a_user_the_last_message_of_anybody_counts(encoder):
    spoken = RoutingInput(messages=(("system", "Be brief."), ("assistant", "Hello."), ("tool", "")))
    assert stretches(spoken, Window(), encoder) == ["Hello."]


def test_an_empty_last_user_message_is_passed_over(encoder):
    spoken = RoutingInput(messages=(("user", "What?"), ("user", " ")))
    assert stretches(spoken, Window(), encoder) == ["What?"]


def test_head_and_tail_are_of_all_messages(encoder):
    assert stretches(CHAT, Window(part="head", pieces=5), encoder) == ["Be brief.\n\nWhat is"]
    assert stretches(CHAT, Window(part="tail", pieces=4), encoder) == ["And a river?"]


@pytest.mark.parametrize("part", ["head", "tail", "last_message", "whole"])
def test_a_plain_text_is_all_there_is(encoder, part):
    assert stretches(RoutingInput(text="One two."), Window(part=part), encoder) == ["One two."]


@pytest.mark.parametrize("part", ["head", "tail", "last_message", "whole"])
@pytest.mark.parametrize(
    "spoken", [RoutingInput(), RoutingInput(text=" \n"), RoutingInput((("user", ""),))]
)
def test_nothing_said_gives_nothing_to_embed(encoder, part, spoken):
    assert stretches(spoken, Window(part=part), encoder) == []


@pytest.mark.parametrize("pieces", [None, 254, 5000])
def test_no_stretch_is_longer_than_the_encoder_reads(encoder, pieces):
    spoken = RoutingInput(text=LONG)
    (head,) = stretches(spoken, Window(part="head", pieces=pieces), encoder)
    (tail,) = stretches(spoken, Window(part="tail", pieces=pieces), encoder)
    assert head == " ".join(WORDS[:254])
    assert tail == " ".join(WORDS[-254:])


def test_the_tail_of_a_long_text_is_what_is_embedded(encoder):
    """The encoder alone would read the head and never see the question."""
    question = "Write a Python function that reverses a list."
    spoken = RoutingInput(text="The river flows to the sea. " * 200 + question)
    tail = stretches(spoken, Window(part="tail", pieces=9), encoder)
    wanted, sea = encoder.encode([question, "The river flows to the sea."])
    assert embedding_of(tail, encoder) @ wanted > 0.95
    truncated = encoder.encode([spoken.whole])[0]
    assert truncated @ wanted < 0.3 < truncated @ sea


def test_whole_is_cut_into_stretches_in_order(encoder):
    parts = stretches(RoutingInput(text=LONG), Window(part="whole"), encoder)
    assert len(parts) == 4
    assert " ".join(parts) == LONG
    fewer = stretches(RoutingInput(text=LONG), Window(part="whole", pieces=300), encoder)
    assert fewer == [" ".join(WORDS[:254]), " ".join(WORDS[254:300])]


def test_several_stretches_count_by_their_length(encoder):
    rows = encoder.encode(["a river", "x = [1, 2]"]).astype(np.float64)
    mean = (7 * rows[0] + 10 * rows[1]) / 17
    np.testing.assert_allclose(embedding_of(["a river", "x = [1, 2]"], encoder), mean, atol=1e-6)


@pytest.mark.parametrize("part", ["head", "tail", "last_message", "whole"])
def test_no_answer_changes_nothing(encoder, part: str) -> None:
    spoken = RoutingInput((("user", "first " * 300), ("user", "count the apples " * 90)))
    window = Window(part=part)
    assert stretches(spoken, window, encoder, "") == stretches(spoken, window, encoder)
    assert stretches(spoken, window, encoder, " \n") == stretches(spoken, window, encoder)


@pytest.mark.parametrize("part", ["tail", "last_message", "whole"])
@pytest.mark.parametrize("question", ["count the apples", "count the apples " * 400])
def test_a_growing_answer_never_freezes(encoder, part: str, question: str) -> None:
    spoken = RoutingInput((("user", question),))
    window = Window(part=part)
    seen = []
    for words in (0, 3, 300, 3000, 3001):
        seen.append(tuple(stretches(spoken, window, encoder, "and now it rains " * words)))
        assert all(len(encoder.cut(text, 0, None)) == len(text) for text in seen[-1])
        if words:
            assert seen[-1][-1].endswith("rains")
    assert len(set(seen[:3])) == 3


def test_a_short_answer_joins_the_question(encoder) -> None:
    said = RoutingInput((("user", "why is the sky blue?"),))
    joined = "why is the sky blue?\n\nBecause air scatters"
    assert stretches(said, Window(), encoder, "Because air scatters") == [joined]
    plain = RoutingInput(text="The sky is")
    assert stretches(plain, Window(), encoder, " blue") == ["The sky is blue"]


def test_the_head_stays_once_it_is_full(encoder) -> None:
    """LoRA-TLE to the letter: what comes after the encoder's limit is not seen."""
    said = RoutingInput(text="count the apples " * 400)
    window = Window(part="head")
    assert stretches(said, window, encoder, " and rain") == stretches(said, window, encoder)
