import numpy as np
import pytest

from router.policies.options import Window
from router.window import RoutingInput, embedding_of, stretches

PARTS = ["head", "tail", "last_message", "conversation", "whole"]
MOVING = ["tail", "last_message", "conversation", "whole"]
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


@pytest.mark.parametrize("part", PARTS)
def test_a_plain_text_is_all_there_is(encoder, part):
    assert stretches(RoutingInput(text="One two."), Window(part=part), encoder) == ["One two."]


@pytest.mark.parametrize("part", PARTS)
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


@pytest.mark.parametrize("part", PARTS)
def test_no_answer_changes_nothing(encoder, part: str) -> None:
    spoken = RoutingInput((("user", "first " * 300), ("user", "count the apples " * 90)))
    window = Window(part=part)
    assert stretches(spoken, window, encoder, "") == stretches(spoken, window, encoder)
    assert stretches(spoken, window, encoder, " \n") == stretches(spoken, window, encoder)


@pytest.mark.parametrize("part", MOVING)
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


UNSEEN = {
    "line breaks": "\n",
    "blanks": " ",
    "tabs": "\t",
    "carriage returns": "\r\n",
    "no-break spaces": "\u00a0",
    "zero-width spaces": "\u200b",
    "byte-order marks": "\ufeff",
    "ideographic spaces": "\u3000",
    "line separators": "\u2028",
    "NULs": "\0",
    "soft hyphens": "\u00ad",
    "variation selectors": "\ufe0f",
    "directions": "\u202e",
}
QUESTION = "Write a Python function that reverses a list."


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("unseen", UNSEEN.values(), ids=UNSEEN)
@pytest.mark.parametrize("place", ["before", "after", "between"])
def test_what_nobody_sees_takes_no_room(encoder, part, unseen, place):
    """Line breaks without number and then a question went to the base model."""
    much = unseen * 17_000
    halves = QUESTION[:23], QUESTION[24:]
    text = {
        "before": much + QUESTION,
        "after": QUESTION + much,
        "between": f"{halves[0]} {much} {halves[1]}",
    }[place]
    window = Window(part=part)
    (wanted,) = encoder.encode([QUESTION])
    for spoken in (RoutingInput(text=text), RoutingInput((("user", text),))):
        found = stretches(spoken, window, encoder)
        assert embedding_of(found, encoder) @ wanted > 0.97
    short = stretches(RoutingInput(text=text), Window(part=part, pieces=12), encoder)
    assert embedding_of(short, encoder) @ wanted > 0.97


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_word_without_end_takes_the_room_of_one(encoder, place):
    word = "a" * 20_000
    text = f"{word} {QUESTION}" if place == "before" else f"{QUESTION} {word}"
    for part in PARTS:
        (found,) = stretches(RoutingInput(text=text), Window(part=part), encoder)
        assert QUESTION in found


def test_a_cut_is_the_same_however_far_it_has_to_reach(encoder):
    rng = np.random.default_rng(5)
    pieces = ["river ", "\n" * 90, "é́́", "unbelievably ", "x" * 150 + " ", "日本", "?! ", "\t"]
    text = "".join(pieces[place] for place in rng.integers(0, len(pieces), 4000))
    offsets = encoder._offsets(text)
    for start, stop in ((0, 7), (0, 254), (100, 101), (254, 508), (-1, None), (-254, None)):
        kept = offsets[start:stop]
        assert encoder.cut(text, start, stop) == text[kept[0][0] : kept[-1][1]]


@pytest.mark.parametrize("text", ["?!...", "…", ":-)", "---", "\U0001f600", "→", "\u200b", "***"])
@pytest.mark.parametrize("part", PARTS)
def test_no_word_is_nothing_said(encoder, part, text):
    assert stretches(RoutingInput(text=text), Window(part=part), encoder) == []
    assert stretches(RoutingInput((("user", text),)), Window(part=part), encoder) == []


@pytest.mark.parametrize("text", ["7", "é", "日", "x?", "ß", "\u0661"])
@pytest.mark.parametrize("part", PARTS)
def test_a_letter_or_digit_of_any_script_is_a_word(encoder, part, text):
    assert stretches(RoutingInput(text=text), Window(part=part), encoder) == [text]


AROUND = " ".join(["the garden shop is closed on public holidays and opens at nine"] * 30)


@pytest.mark.parametrize("part", ["last_message", "conversation"])
@pytest.mark.parametrize("place", ["before", "after"])
def test_a_long_message_counts_at_both_ends(encoder, part, place):
    def said(question: str) -> RoutingInput:
        long = f"{AROUND}\n\n{question}" if place == "before" else f"{question}\n\n{AROUND}"
        return RoutingInput((("user", long),))

    questions = [QUESTION, "How many apples are left if Tom eats 3 of 12?"]
    rows = []
    for question in questions:
        (found,) = stretches(said(question), Window(part=part), encoder)
        assert question in found
        assert len(encoder.cut(found, 0, None)) == len(found)
        rows.append(embedding_of([found], encoder))
    wanted = encoder.encode(questions)
    assert rows[0] @ wanted[0] > rows[0] @ wanted[1]
    assert rows[1] @ wanted[1] > rows[1] @ wanted[0]


TALK = RoutingInput(
    (
        ("system", "You are a poet."),
        ("user", "What is a sonnet?"),
        ("assistant", "A poem of fourteen lines."),
        ("user", QUESTION),
        ("assistant", "def reverse(items): return items[::-1]"),
        ("user", "Why?"),
    )
)


def test_a_conversation_is_the_question_and_the_talk_before_it(encoder):
    found = stretches(TALK, Window(part="conversation", recency=0.5, before=3), encoder)
    assert [(str(one), one.weight) for one in found] == [
        ("Why?", 1.0),
        ("def reverse(items): return items[::-1]", 0.5),
        (QUESTION, 0.25),
        ("A poem of fourteen lines.", 0.125),
    ]
    assert stretches(TALK, Window(part="conversation", before=0), encoder) == ["Why?"]
    assert stretches(TALK, Window(part="conversation", recency=0), encoder) == ["Why?"]


def test_a_question_that_is_longer_speaks_for_itself(encoder):
    def weight(question: str) -> float:
        spoken = RoutingInput((*TALK.messages[:-1], ("user", question)))
        return stretches(spoken, Window(part="conversation"), encoder)[1].weight

    assert weight("Why?") == weight("Why, and how?") == Window(part="conversation").recency
    assert weight("How many apples? " * 20) < weight("How many apples? " * 8) < weight("Why?")


def test_an_answer_grows_with_the_question_and_leaves_the_talk(encoder):
    window = Window(part="conversation", before=1)
    plain = stretches(TALK, window, encoder)
    grown = stretches(TALK, window, encoder, "Because a slice can go backwards.")
    assert grown == ["Why?\n\nBecause a slice can go backwards.", plain[1]]
    assert [one.weight for one in grown] == [one.weight for one in plain]
    long = stretches(TALK, window, encoder, "and so on " * 400)
    assert long[0] == "Why?"
    assert long[0].weight + long[1].weight == pytest.approx(1)
    assert long[2:] == plain[1:]


def test_a_question_without_a_word_leaves_it_to_the_talk(encoder):
    spoken = RoutingInput((*TALK.messages[:-1], ("user", "?!")))
    found = stretches(spoken, Window(part="conversation", before=2), encoder)
    assert found == ["def reverse(items): return items[::-1]", QUESTION]
