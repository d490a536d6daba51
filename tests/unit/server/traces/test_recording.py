import json
import sys
import threading

import pytest

from router.mixture import BASE_MODEL, Member, Mixture
from server.errors import TraceNotFound
from server.traces.settings import TraceSettings
from server.traces.store import TraceStore
from server.traces.trace import ChoiceTrace, Trace, TraceStep
from tests.support.traces import CODE, MATHS, begin, head, tokens_of


def test_a_step_is_made_of_a_mixture():
    mixture = Mixture.of([Member("maths", "d", 0.9)], base_share=0.1)
    assert TraceStep.of(3, mixture) == TraceStep(3, {"maths": 0.9}, 0.1)
    assert TraceStep.of(0, BASE_MODEL) == TraceStep(0, {}, 1.0)


def test_a_trace_holds_what_was_told_in_order():
    store = TraceStore()
    recording = begin(store)
    recording.add(2, CODE)
    recording.add(6, {}, base_share=0.5)
    recording.add(4, MATHS, base_share=0.1)
    trace = store.get("t", "r")
    assert trace.choices[0].steps == (
        TraceStep(0, MATHS),
        TraceStep(2, CODE),
        TraceStep(4, MATHS, 0.1),
        TraceStep(6, {}, 1.0),
    )
    assert (trace.finished, trace.truncated) == (False, False)
    recording.finish()
    assert store.get("t", "r").finished


def test_the_last_word_on_a_token_counts_and_costs_no_second_step():
    store = TraceStore()
    recording = begin(store)
    for _ in range(3):
        recording.add(0, CODE)
        recording.add(2, MATHS)
    assert store.get("t", "r").choices[0].steps == (TraceStep(0, CODE), TraceStep(2, MATHS))
    assert store.steps == 2


def test_the_engine_may_change_its_own_mapping_afterwards():
    store, weights = TraceStore(), dict(MATHS)
    recording = begin(store)
    recording.add(2, weights)
    weights["maths"] = 9.0
    assert recording.trace.choices[0].steps[1].weights == MATHS


def test_every_token_has_the_weights_of_the_step_before_it():
    recording = begin(TraceStore(), stride=3)
    recording.add(3, CODE)
    recording.add(6, MATHS, base_share=0.2)
    steps = recording.steps(0, 8)
    assert [step.token for step in steps] == list(range(8))
    assert [step.weights for step in steps] == [MATHS] * 3 + [CODE] * 3 + [MATHS] * 2
    assert [step.base_share for step in steps] == [0.0] * 6 + [0.2] * 2
    assert recording.latest() == TraceStep(6, MATHS, 0.2)


def test_each_choice_of_each_prompt_has_its_own_steps():
    store = TraceStore()
    first = [TraceStep(0, MATHS), TraceStep(0, CODE)]
    recording = store.begin("t", head(choices=2), first)
    recording.add(2, CODE, choice=1)
    recording.generated(5, choice=3)
    choices = store.get("t", "r").choices
    assert [(c.index, c.prompt, c.tokens) for c in choices] == [
        *[(0, 0, None), (1, 0, None), (2, 1, None), (3, 1, 5)]
    ]
    assert choices[0].steps == (TraceStep(0, MATHS),)
    assert choices[1].steps == (TraceStep(0, MATHS), TraceStep(2, CODE))
    assert choices[3].steps == (TraceStep(0, CODE),)
    assert recording.steps(0, 1, choice=2)[0].weights == CODE


@pytest.mark.parametrize(("token", "choice"), [(-1, 0), (0, -1), (0, 1)])
def test_what_cannot_be_is_refused(token, choice):
    recording = begin(TraceStore())
    with pytest.raises(ValueError, match=r"no number|no choice"):
        recording.add(token, MATHS, choice=choice)
    with pytest.raises(ValueError, match=r"no number|no choice"):
        recording.generated(token, choice=choice)


def test_steps_for_tokens_that_never_came_are_dropped_at_the_end():
    store = TraceStore()
    recording = begin(store)
    for token in (0, 2, 4, 6):
        recording.add(token, CODE)
    recording.generated(4)
    assert tokens_of(store) == [0, 2, 4, 6], "while it runs they may still come"
    recording.finish()
    assert tokens_of(store) == [0, 2]
    assert store.steps == 2


def test_only_the_own_tenant_sees_a_trace():
    store = TraceStore()
    begin(store, tenant="one").finish()
    assert store.get("one", "r").finished
    with pytest.raises(TraceNotFound) as others:
        store.get("two", "r")
    with pytest.raises(TraceNotFound) as never:
        TraceStore().get("two", "r")
    assert str(others.value) == str(never.value)


def test_a_discarded_trace_leaves_nothing():
    store = TraceStore()
    for finishes in (False, True):
        recording = begin(store)
        recording.add(2, CODE)
        if finishes:
            recording.finish()
        recording.discard()
        recording.discard()
        assert (store.traces, store.running, store.steps) == (0, 0, 0)
        with pytest.raises(TraceNotFound):
            store.get("t", "r")


def test_what_is_told_after_the_end_changes_nothing():
    store = TraceStore()
    recording = begin(store)
    recording.add(2, CODE)
    recording.finish()
    recording.finish()
    recording.add(4, CODE)
    assert tokens_of(store) == [0, 2]
    assert not store.get("t", "r").truncated
    assert (store.traces, store.running, store.steps) == (1, 0, 1)


def test_many_threads_leave_the_counters_right():
    store = TraceStore(TraceSettings(max_traces=8, max_steps=200))
    before, faults = sys.getswitchinterval(), []
    sys.setswitchinterval(1e-5)

    def work(worker: int) -> None:
        try:
            for turn in range(40):
                recording = begin(store, f"{worker}-{turn % 3}")
                for token in range(0, 30, 2):
                    recording.add(token, CODE)
                recording.generated(20)
                recording.steps(0, 5)
                recording.discard() if turn % 4 == 0 else recording.finish()
                assert store.traces <= 8
                assert store.steps <= 200
        except (AssertionError, KeyError, RuntimeError) as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert faults == []
    assert store.running == 0
    kept = [recording.trace for recording in store._finished]
    assert store.steps == sum(len(trace.choices[0].steps) for trace in kept)


def test_the_wire_form_is_plain_json():
    store = TraceStore()
    recording = begin(store, choices=2)
    recording.add(2, CODE)
    recording.generated(3)
    recording.finish()
    wire = json.loads(json.dumps(store.get("t", "r").as_json(expand=True)))
    choices = wire.pop("choices")
    assert wire == {
        "object": "trace",
        "id": "r",
        "answer_id": recording.head.answer_id,
        "policy": "auto",
        "policy_version": "1a2b",
        "scope": "token",
        "stride": 2,
        "combination": "cat",
        "adapters": ["code", "maths"],
        "finished": True,
        "truncated": False,
    }
    first, second = {"weights": MATHS, "base_share": 0.0}, {"weights": CODE, "base_share": 0.0}
    assert choices[0] == {
        "index": 0,
        "prompt": 0,
        "tokens": 3,
        "steps": [{"token": 0, **first}, {"token": 2, **second}],
        "per_token": [{"token": 0, **first}, {"token": 1, **first}, {"token": 2, **second}],
    }
    assert (choices[1]["tokens"], len(choices[1]["per_token"])) == (None, 1)
    assert "per_token" not in store.get("t", "r").as_json()["choices"][0]


@pytest.mark.parametrize(
    ("tokens", "truncated", "end"),
    [(None, False, 9), (20, False, 20), (20, True, 10), (9, True, 9), (5, False, 5)],
)
def test_weights_are_told_of_tokens_that_have_known_ones(tokens, truncated, end):
    choice = ChoiceTrace(0, 0, tokens, (TraceStep(0, MATHS), TraceStep(8, CODE)))
    trace = Trace(head(stride=2), (choice,), True, truncated)
    each = trace.as_json(expand=True)["choices"][0]["per_token"]
    assert [step["token"] for step in each] == list(range(end))
    assert all(step["weights"] == (CODE if step["token"] >= 8 else MATHS) for step in each)
