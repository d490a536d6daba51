"""What a step's batch becomes: gates of every token, and counts of what was mixed."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from server.engine.bank.step_gates import StepGates
from server.engine.messages import EXTRA_KEY, AdapterWeights, RequestMixture, ReweighRequest
from server.engine.worker.gate_log import LOG_ATTRIBUTE, GateLog
from server.engine.worker.reweigher import Reweigher
from server.engine.worker.slot_table import AdapterNotInSlot, SlotTable
from server.engine.worker.step_hook import fill_step

SLOTS = [None, 11, 12]
"""vLLM's ids of the adapters, slot by slot."""


def table() -> SlotTable:
    return SlotTable(ranks={11: 4, 12: 8}, scalings={11: 2.0, 12: 0.5})


def request(
    weights: AdapterWeights | None, reweigh: ReweighRequest | None = None, generated: int = 0
) -> Any:
    """A runner's record of a request with a prompt of 2 tokens; no weights: no mixture of ours."""
    mixture = None if weights is None else RequestMixture(weights, "cat", reweigh)
    extra = None if mixture is None else {EXTRA_KEY: mixture.to_wire()}
    return SimpleNamespace(
        req_id="r",
        sampling_params=SimpleNamespace(extra_args=extra),
        num_computed_tokens=generated + 1 if generated else 0,
        num_prompt_tokens=2,
        output_token_ids=[5] * generated,
    )


def step(one: SlotTable, requests: list[Any], lengths: list[int]) -> StepGates:
    gates = StepGates(max_tokens=8, max_slots=len(SLOTS), device="cpu")
    runner = SimpleNamespace(
        lora_manager=SimpleNamespace(_adapter_manager=SimpleNamespace(lora_index_to_id=SLOTS)),
        requests=dict(enumerate(requests)),
        input_batch=SimpleNamespace(req_ids=list(range(len(requests)))),
    )
    fill_step(runner, one, Reweigher(), gates, lengths)
    return gates


def inner(gates: StepGates) -> np.ndarray:
    return gates.tensors[3].numpy()


def test_each_token_gets_the_gates_of_its_request() -> None:
    gates = step(table(), [request(None), request(((12, 0.75), (11, 0.25)))], [3, 2])
    expected = np.zeros((8, 3), np.float32)
    expected[3:5] = [0, 0.25, 0.75]
    assert (inner(gates) == expected).all()


def test_steps_count_their_unlike_mixtures() -> None:
    one, both = table(), ((11, 0.5), (12, 0.5))
    step(one, [request(None)], [1])
    step(one, [request(both), request(both), request(((11, 1.0),)), request(None)], [1, 2, 1, 1])
    assert (one.steps, one.mixed_steps, one.step_mixtures) == (2, 1, 2)


def test_an_adapter_that_is_in_no_slot_is_refused() -> None:
    with pytest.raises(AdapterNotInSlot, match=r"\[13\] are in no slot"):
        step(table(), [request(((13, 1.0),))], [1])


def test_a_prompt_begins_its_log_with_the_weights_that_came_with_it() -> None:
    reweigh = ReweighRequest("key", "token", 4, (), "hello", None)
    one = request(((11, 1.0),), reweigh)
    gates = step(table(), [one], [2])
    assert getattr(one, LOG_ATTRIBUTE) == GateLog(reweigh, [((11, 1.0),)])
    assert inner(gates)[:2].tolist() == [[0, 1, 0]] * 2


def test_a_later_step_uses_the_weighing_of_its_token() -> None:
    reweigh = ReweighRequest("key", "token", 4, (), "hello", None)
    one = request(((11, 1.0),), reweigh, generated=4)
    setattr(one, LOG_ATTRIBUTE, GateLog(reweigh, [((11, 1.0),), ((12, 1.0),)]))
    assert inner(step(table(), [one], [1]))[0].tolist() == [0, 0, 1]
