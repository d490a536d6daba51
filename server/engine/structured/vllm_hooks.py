"""What vLLM does for structured output, without what would hold up everybody else.

By itself vLLM parses grammars on the server's event loop, to see whether they can be compiled, and
compiles them in the engine's process with eight threads. Here the loop does neither, as a trial in
a process of its own has (``server.engine.structured.compilations``), and the engine compiles what
passed that trial once more, in one thread of low priority that no step waits for. What an answer's
grammar takes for each token is bounded there too, as that can grow with the answer.

Installed by the plugin (``server.engine.worker.plugin``).
"""

import json
import os
import sys
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import wraps
from typing import Any, Final

from server.engine.structured.trial import make_backend

STEP_VARIABLE: Final = "LORALLOY_MAX_STEP_MS"
"""Where the engine's process reads a setting: most processor time of a grammar for one token."""

TOO_SLOW: Final = "grammar_too_slow"
"""Why a request has ended whose grammar took too long for a token, as vLLM's ``stop_reason``."""

_NICENESS: Final = 5
_BACKENDS: Final = "loralloy_backends"


def install() -> None:
    """Put the hooks in."""
    _leave_validation_to_trials()
    _compile_apart()


def _leave_validation_to_trials() -> None:
    """Keep vLLM from parsing a grammar on the server's event loop."""
    import vllm.entrypoints.generate.base.protocol as protocol
    import vllm.parser.abstract_parser as parsers
    from vllm import SamplingParams
    from vllm.exceptions import VLLMValidationError
    from vllm.sampling_params import check_json_nesting

    stock = SamplingParams._validate_structured_outputs

    @wraps(stock)
    def validate(self: Any, *args: Any, **kwargs: Any) -> None:
        constraint = self.structured_outputs
        if constraint is None or not (constraint._backend and constraint._backend_was_auto):
            stock(self, *args, **kwargs)

    def validate_tag(payload: Any, *, parameter: str) -> None:
        if not isinstance(payload, str) or not payload:
            raise VLLMValidationError(
                f"Invalid {parameter} structural_tag specification.", parameter=parameter
            )
        check_json_nesting(payload, structural_tag=True)

    SamplingParams._validate_structured_outputs = validate
    protocol.validate_structural_tag_payload = validate_tag
    parsers._xgrammar_supports = _can_be_joined


def _can_be_joined(constraint: Any) -> bool:
    """Whether a constraint can stand beside tools in one grammar, as far as its fields tell."""
    from vllm.v1.structured_output.backend_xgrammar import has_xgrammar_unsupported_json_features
    from vllm.v1.structured_output.utils import grammar_is_likely_lark

    if constraint.json is not None:
        try:
            schema = constraint.json
            schema = json.loads(schema) if isinstance(schema, str) else schema
        except (ValueError, RecursionError):
            return False
        return not has_xgrammar_unsupported_json_features(schema)
    return not (constraint.grammar and grammar_is_likely_lark(constraint.grammar))


def _compile_apart() -> None:
    """Compile in the engine's process at low priority, each constraint with its own backend.

    vLLM takes the first constraint's backend for all that follow.
    """
    from vllm.v1.structured_output import StructuredOutputManager

    def grammar_init(self: Any, request: Any) -> None:
        if request.structured_output_request is None:
            return
        if not isinstance(self.executor, _PatientExecutor):
            self.executor.shutdown(wait=False)
            self.executor = _PatientExecutor()
        if self.backend is None:  # it makes the masks, which are one for all
            self.backend = _backend(self, "xgrammar")
        request.structured_output_request.grammar = self.executor.submit(
            self._create_grammar, request
        )

    def create_grammar(self: Any, request: Any) -> Any:
        params = request.sampling_params
        kind, text = request.structured_output_request.structured_output_key
        backend = _backend(self, params.structured_outputs._backend)
        grammar = backend.compile_grammar(kind, text, params.all_stop_token_ids)
        return BoundedGrammar(grammar, request)

    StructuredOutputManager.grammar_init = grammar_init
    StructuredOutputManager._create_grammar = create_grammar


_making = threading.Lock()


def _backend(manager: Any, name: str) -> Any:
    with _making:
        backends = manager.__dict__.setdefault(_BACKENDS, {})
        if name not in backends:
            vocab_size = manager.vllm_config.model_config.get_vocab_size()
            backends[name] = make_backend(name, manager.vllm_config, manager.tokenizer, vocab_size)
        return backends[name]


class _PatientExecutor(ThreadPoolExecutor):
    """One thread, which steps back behind whoever else wants the processor."""

    def __init__(self) -> None:
        super().__init__(1, "loralloy-grammars", initializer=_step_back)


def _step_back() -> None:
    if sys.platform == "linux":  # where threads have priorities of their own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


class BoundedGrammar:
    """A grammar of vLLM's that rejects whatever comes next once a token took it too long.

    vLLM then ends the request, and it alone, with an error; why, is left in its ``stop_reason``.

    Args:
        grammar: what it bounds.
        request: the scheduler's, whose answer it holds.
    """

    def __init__(self, grammar: Any, request: Any) -> None:
        self._grammar = grammar
        self._request = request
        self._max_s = int(os.environ[STEP_VARIABLE]) / 1000
        self._is_late = False

    def fill_bitmask(self, bitmask: Any, idx: int) -> None:
        """Say which tokens may come next."""
        began = time.thread_time()
        self._grammar.fill_bitmask(bitmask, idx)
        self._note(began)

    def accept_tokens(self, request_id: str, tokens: list[int]) -> bool:
        """Go on by tokens; false if they do not fit, or a token has taken too long."""
        if self._is_late:
            self._request.stop_reason = TOO_SLOW
            return False
        began = time.thread_time()
        accepted = bool(self._grammar.accept_tokens(request_id, tokens))
        self._note(began)
        return accepted

    def _note(self, began: float) -> None:
        self._is_late = self._is_late or time.thread_time() - began > self._max_s

    def __getattr__(self, name: str) -> Any:
        return getattr(self._grammar, name)


def call_off(requests: Iterable[Any]) -> None:
    """Drop what waits to be compiled for requests that have ended.

    Args:
        requests: the scheduler's.
    """
    for request in requests:
        structured = getattr(request, "structured_output_request", None)
        waiting = getattr(structured, "_grammar", None)
        if isinstance(waiting, Future):
            waiting.cancel()
