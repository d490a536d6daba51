"""What a decided request becomes, without the engine behind it."""

import pytest

from router.mixture import Member, Mixture
from server.generation.body import clean
from server.generation.decided import Generation
from server.generation.prompts import Api
from server.generation.token_counts import StreamCounts
from server.traces.applied import Applied
from server.traces.store import TraceStore
from server.traces.trace import TraceStep
from tests.support.following import follows

MADE = Mixture.of(
    [Member("maths", "d", 0.75)],
    base_share=0.25,
    policy="auto",
    policy_version="v",
    combination="cat",
)
DECISION = follows({"maths": 0.75}, 4, others=("code",), base_share=0.25)
ONCE = Applied(MADE)
AGAIN = Applied(DECISION.mixture, DECISION)
TOLD = {"stream": True, "stream_options": {"include_mixture": True}}


def generation(
    applied: Applied, prompts: int = 1, api: Api = Api.COMPLETIONS, **body
) -> Generation:
    return Generation([applied] * prompts, clean(body, 64), "base", api)


def test_only_a_request_that_is_weighed_again_has_a_trace():
    store = TraceStore()
    assert generation(ONCE).recorded(store, "t", "r").recording is None
    assert generation(ONCE).plan("t").recording is None
    assert store.traces == 0
    begun = generation(AGAIN, prompts=2, n=3).recorded(store, "t", "r")
    trace = store.get("t", "r")
    assert begun.plan("t").recording is begun.recording
    assert (trace.head.policy, trace.head.policy_version) == ("auto", DECISION.policy_version)
    assert (trace.head.scope, trace.head.stride, trace.head.choices) == ("token", 4, 3)
    assert trace.head.adapters == ("code", "maths")
    assert [choice.prompt for choice in trace.choices] == [0, 0, 0, 1, 1, 1]
    assert trace.choices[5].steps == (TraceStep(0, {"maths": 0.75}, 0.25),)


@pytest.mark.parametrize("n", [None, 0, -3])
def test_a_senseless_number_of_choices_is_left_to_the_engine(n):
    store = TraceStore()
    generation(AGAIN, n=n).recorded(store, "t", "r")
    assert len(store.get("t", "r").choices) == 1


@pytest.mark.parametrize(
    ("api", "prefix", "named"),
    [
        (Api.CHAT, "chatcmpl-", ""),
        (Api.COMPLETIONS, "cmpl-", ""),
        (Api.RESPONSES, "resp_", "resp_"),
    ],
)
def test_an_answer_has_an_id_that_no_client_chooses(api, prefix, named):
    one, other = (generation(AGAIN, api=api, request_id="mine") for _ in range(2))
    assert one.answer_id == prefix + one.id
    assert other.answer_id == prefix + other.id
    assert one.id != other.id
    assert one.body["request_id"] == named + one.id
    store = TraceStore()
    one.recorded(store, "t", "r")
    assert store.get("t", one.answer_id).head.request_id == "r"


def test_chunks_count_where_each_tells_its_own_mixture():
    counted = generation(AGAIN, **TOLD).counted()
    assert counted.usage == StreamCounts(False, False)
    assert counted.body["stream_options"] == {
        "include_usage": True,
        "continuous_usage_stats": True,
    }


@pytest.mark.parametrize(
    ("applied", "api", "body"),
    [
        (ONCE, Api.CHAT, TOLD),
        (AGAIN, Api.CHAT, {"stream": True}),
        (AGAIN, Api.RESPONSES, TOLD),
    ],
)
def test_other_bodies_stay_as_they_are(applied, api, body):
    one = generation(applied, api=api, **body)
    assert one.counted() is one
    assert "stream_options" not in one.body
