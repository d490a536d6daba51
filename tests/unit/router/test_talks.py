"""What policy ``auto`` hears of talks, long prompts and texts that fit nothing: demo adapters."""

from pathlib import Path

import pytest

from router.centroids.index import CentroidIndex
from router.fit import read_fitted
from router.policies.config import DEFAULT_POLICY, RoutingOverrides, default_policies
from router.policies.options import Window
from router.router import Router
from router.window import RoutingInput

DEMOS = Path(__file__).parents[3] / "examples" / "adapters"
TURNS = {
    "code": (
        "Write a Python function that returns the second largest number of a list.",
        "def second(numbers):\n    return sorted(set(numbers))[-2]",
    ),
    "maths": (
        "A farmer has 17 cows and buys 5 more each year. How many cows has he after 6 years?",
        "He buys 5 * 6 = 30 cows, so he has 17 + 30 = 47 cows. #### 47",
    ),
    "science": (
        "Which part of a plant cell makes sugar from sunlight? A. nucleus B. chloroplast",
        "B. The chloroplast, where photosynthesis takes place.",
    ),
}
FOLLOW_UPS = (
    "Can you explain the second step again?",
    "Why?",
    "Are you sure?",
    "I did not get the last part.",
    "Go on.",
)
PREAMBLE = " ".join(
    ["You answer guests of our hotel. Be polite, stay calm and wish them a good journey home."] * 19
)


@pytest.fixture(scope="module")
def demos(encoder) -> Router:
    router = Router(encoder, CentroidIndex(), default_policies())
    for folder in sorted(DEMOS.iterdir()):
        router.add_adapter(folder.name, folder.name, read_fitted(folder / "router.json"))
    return router


def talk(*said: str) -> RoutingInput:
    """Messages of user and assistant in turn."""
    roles = ("user", "assistant")
    return RoutingInput(tuple((roles[place % 2], text) for place, text in enumerate(said)))


def heaviest(router: Router, spoken: RoutingInput, policy: str = DEFAULT_POLICY) -> str | None:
    return next(iter(router.route(spoken, policy).mixture.weights), None)


@pytest.mark.parametrize("policy", ["auto", "nearest"])
@pytest.mark.parametrize("follow_up", FOLLOW_UPS)
@pytest.mark.parametrize("task", TURNS)
def test_a_follow_up_goes_where_the_talk_is(demos, task, follow_up, policy):
    assert heaviest(demos, talk(*TURNS[task], follow_up), policy) == task


@pytest.mark.parametrize("before", TURNS)
@pytest.mark.parametrize("task", TURNS)
def test_a_new_subject_is_heard(demos, before, task):
    assert heaviest(demos, talk(*TURNS[before], TURNS[task][0])) == task


def test_questions_behind_one_preamble_get_their_own_mixtures(demos):
    assert len(PREAMBLE.split()) > 300
    for place in (f"{PREAMBLE}\n\n%s", f"%s\n\n{PREAMBLE}"):
        for spoken in (lambda text: RoutingInput(text=text), talk):
            found = {task: demos.route(spoken(place % TURNS[task][0])) for task in TURNS}
            assert {task: next(iter(one.mixture.weights)) for task, one in found.items()} == {
                task: task for task in TURNS
            }
            assert len({one.mixture for one in found.values()}) == len(TURNS)


@pytest.mark.parametrize(
    "text", ["?!...", "...", "!!!", ":-)", "---", "\U0001f600", "", " \n", "***"]
)
@pytest.mark.parametrize("policy", ["auto", "nearest", "tle"])
def test_no_word_goes_to_the_base_model(demos, text, policy):
    for spoken in (RoutingInput(text=text), talk(text)):
        decision = demos.route(spoken, policy)
        assert (decision.mixture.is_base, decision.fallback) == (True, "base")


@pytest.mark.parametrize("text", ["Why?", "thanks", "How are you?", "How do I cook rice?", "bye"])
def test_what_is_like_no_adapters_texts_goes_to_the_base_model(demos, text):
    decision = demos.route(talk(text))
    assert (decision.mixture.is_base, decision.fallback) == (True, "base")
    assert max(decision.scores.values()) < demos.policies["auto"].threshold


def test_line_breaks_before_a_question_change_nothing(demos):
    question = TURNS["code"][0]
    plain, far = (demos.route(talk(text)) for text in (question, "\n" * 17_000 + question))
    assert far.mixture.weights == pytest.approx(plain.mixture.weights, abs=1e-4)


def test_the_paper_s_rule_reads_the_beginning_of_all_messages_as_ever(demos):
    assert demos.policies["tle"].window == Window(part="head")
    said = talk(*TURNS["code"], "Why?")
    decision = demos.route(said, "tle")
    assert decision.text_window == said.whole


def test_a_request_can_say_how_much_of_the_talk_counts(demos):
    said = talk(*TURNS["code"], "How many apples are left if Tom eats 3 of 12?")
    alone = RoutingOverrides(window=Window(part="conversation", before=0))
    all_of_it = RoutingOverrides(window=Window(part="conversation", recency=1.0))
    weights = [demos.route(said, "auto", one).mixture.weights for one in (alone, None, all_of_it)]
    shares = [one.get("code", 0.0) for one in weights]
    assert shares[0] <= shares[1] < shares[2]
