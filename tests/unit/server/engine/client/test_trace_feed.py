import pytest

from server.engine.client.trace_feed import TraceFeed
from server.traces.store import TraceStore
from server.traces.trace import TraceHead, TraceStep
from tests.support.following import follows

NAMES = {7: "maths", 9: "code"}


def fed(prompt: int = 0, base_share: float = 0.0):
    decision = follows({"maths": 0.5}, 2, others=("code",), base_share=base_share)
    head = TraceHead("r", "auto", "v", "token", 2, "cat", ("code", "maths"), 2)
    recording = TraceStore().begin("t", head, [TraceStep(0, {"maths": 0.5})] * 2)
    return TraceFeed(recording, decision.following, NAMES, prompt), recording


def test_a_weighing_becomes_a_step_of_its_own_choice():
    feed, recording = fed(prompt=1)
    feed.weighed(1, 0, ((7, 1.0),))
    feed.weighed(1, 3, ((9, 0.75), (7, 0.25)))
    choices = recording.trace.choices
    assert choices[3].steps == (
        TraceStep(0, {"maths": 1.0}),
        TraceStep(6, {"code": 0.75, "maths": 0.25}),
    )
    assert list(choices[3].steps[1].weights) == ["code", "maths"]
    assert all(len(choices[index].steps) == 1 for index in range(3))


def test_the_base_models_share_is_the_policys():
    feed, recording = fed(base_share=0.2)
    for number, weights in enumerate([((7, 0.5), (9, 0.3001)), ((7, 1.0),), ()]):
        feed.weighed(0, number, weights)
    assert [step.base_share for step in recording.trace.choices[0].steps] == [0.2, 0.0, 1.0]


def test_without_a_share_rounding_makes_none():
    feed, recording = fed()
    feed.weighed(0, 0, ((7, 0.3333), (9, 0.6666)))
    assert recording.latest().base_share == 0.0


def test_tokens_are_told_by_choice():
    feed, recording = fed(prompt=1)
    feed.generated(0, 1)
    feed.generated(0, 4)
    feed.generated(1, 9)
    assert [choice.tokens for choice in recording.trace.choices] == [None, None, 4, 9]


def test_each_token_has_its_step():
    feed, _ = fed(prompt=1)
    feed.weighed(1, 0, ((7, 1.0),))
    feed.weighed(1, 1, ((9, 1.0),))
    names = [list(step.weights) for step in feed.steps(1, 0, 4)]
    assert names == [["maths"], ["maths"], ["code"], ["code"]]


@pytest.mark.parametrize(("child", "adapter"), [(2, 7), (0, 8)])
def test_what_is_not_the_requests_is_refused(child, adapter):
    feed, recording = fed(prompt=1)
    before = recording.trace
    with pytest.raises(ValueError, match=r"no choice|none of this request's"):
        feed.weighed(child, 0, ((adapter, 1.0),))
    assert recording.trace == before
