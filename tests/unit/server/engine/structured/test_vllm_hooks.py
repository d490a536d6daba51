"""What a grammar may take in the engine, and what is left to be compiled for nobody."""

import time
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from server.engine.structured.vllm_hooks import STEP_VARIABLE, TOO_SLOW, BoundedGrammar, call_off


class Grammar:
    """A grammar that accepts everything, and takes its processor time for it."""

    def __init__(self, fill_s: float = 0, accept_s: float = 0) -> None:
        self.takes = {"fill": fill_s, "accept": accept_s}
        self.asked: list[str] = []

    def _work(self, what: str) -> None:
        self.asked.append(what)
        until = time.thread_time() + self.takes[what]
        while time.thread_time() < until:
            pass

    def fill_bitmask(self, bitmask, idx):
        self._work("fill")

    def accept_tokens(self, request_id, tokens):
        self._work("accept")
        return tokens != [0]

    def is_terminated(self):
        return "of vLLM's own"


@pytest.fixture(autouse=True)
def bound(monkeypatch):
    monkeypatch.setenv(STEP_VARIABLE, "20")


def test_a_grammar_in_time_answers_as_ever():
    request = SimpleNamespace(stop_reason=None)
    bounded = BoundedGrammar(Grammar(), request)
    for _ in range(3):
        bounded.fill_bitmask(None, 0)
        assert bounded.accept_tokens("", [1])
    assert not bounded.accept_tokens("", [0])
    assert request.stop_reason is None, "what does not fit is another fault"
    assert bounded.is_terminated() == "of vLLM's own"


@pytest.mark.parametrize("late", ["fill", "accept"])
def test_a_token_that_takes_too_long_is_the_last(late):
    grammar = Grammar(**{f"{late}_s": 0.025})
    request = SimpleNamespace(stop_reason=7)  # a stop token's
    bounded = BoundedGrammar(grammar, request)
    bounded.fill_bitmask(None, 0)
    if late == "accept":
        assert bounded.accept_tokens("", [1])
        bounded.fill_bitmask(None, 0)
    asked = list(grammar.asked)
    grammar.takes = {"fill": 0, "accept": 0}
    assert not bounded.accept_tokens("", [1])
    assert grammar.asked == asked
    assert request.stop_reason == TOO_SLOW


def test_what_nobody_waits_for_is_not_compiled():
    waiting, running = Future(), Future()
    running.set_running_or_notify_cancel()
    call_off(
        [
            SimpleNamespace(structured_output_request=None),
            SimpleNamespace(structured_output_request=SimpleNamespace(_grammar=object())),
            *(
                SimpleNamespace(structured_output_request=SimpleNamespace(_grammar=one))
                for one in (waiting, running)
            ),
        ]
    )
    assert (waiting.cancelled(), running.cancelled()) == (True, False)
