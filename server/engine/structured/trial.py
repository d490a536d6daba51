"""One constraint compiled as the engine will compile it, and tried on some tokens.

It runs in a process of its own (``server.engine.structured.compile_server``), which may be ended at
any time.
"""

import json
import random
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from types import SimpleNamespace
from typing import Any, Final, Literal

TRIED_TOKENS: Final = 96
"""Tokens that a grammar is tried on: what grows with the answer shows within some dozens."""

Outcome = Literal["fits", "refused", "steps", "time", "memory", "failed"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a trial.

    Attributes:
        outcome: ``fits``; ``refused``, as vLLM says in ``message``; ``steps``, ``time``,
            ``memory``: too much of that; ``failed`` for anything else.
        message: of who refused.
        constraint: the constraint's fields as the engine is to have them, if it fits.
        backend: which of vLLM's backends compiles it.
        size: of what was compiled, in bytes.
    """

    outcome: Outcome
    message: str = ""
    constraint: Mapping[str, Any] | None = None
    backend: str | None = None
    size: int = 0

    def to_wire(self) -> dict[str, Any]:
        """As another process gets it."""
        return asdict(self)


class Compiler:
    """Compiles constraints with vLLM's backends and one tokenizer.

    Args:
        model: the base model's folder.
        vocab_size: of the base model, in tokens.
        model_type: of its config.
        max_step_ms: most processor time for a token.
    """

    def __init__(self, model: str, vocab_size: int, model_type: str, max_step_ms: int) -> None:
        from vllm.config.structured_outputs import StructuredOutputsConfig
        from vllm.tokenizers import get_tokenizer

        self._tokenizer = get_tokenizer(model)
        self._vocab_size = vocab_size
        self._step_s = max_step_ms / 1000
        self._config = SimpleNamespace(
            structured_outputs_config=StructuredOutputsConfig(),
            model_config=SimpleNamespace(
                hf_config=SimpleNamespace(model_type=model_type), is_diffusion=False
            ),
            speculative_config=None,
        )
        self._backends: dict[str, Any] = {}
        self._backend("xgrammar")  # views of the vocabulary are for all trials
        with suppress(ValueError):  # there are tokenizers that guidance does not read
            self._backend("guidance")

    def try_out(self, constraint: Mapping[str, Any]) -> Verdict:
        """Compile a constraint, and let it judge some tokens.

        Args:
            constraint: the fields of vLLM's ``StructuredOutputsParams``.
        """
        from vllm import SamplingParams
        from vllm.exceptions import VLLMValidationError
        from vllm.sampling_params import StructuredOutputsParams
        from vllm.v1.structured_output.request import get_structured_output_key

        try:
            params = StructuredOutputsParams(**constraint)
            SamplingParams(structured_outputs=params)._validate_structured_outputs(
                self._config.model_config, self._config.structured_outputs_config, self._tokenizer
            )
            name = params._backend or ""
            kind, text = get_structured_output_key(params)
            grammar = self._backend(name).compile_grammar(kind, text, None)
        except (VLLMValidationError, ValueError, TypeError, KeyError, RuntimeError) as error:
            return Verdict("refused", str(error))
        if not self._keeps_up(self._backends[name], grammar):
            return Verdict("steps")
        size = getattr(getattr(grammar, "ctx", None), "memory_size_bytes", 0)
        fields = {key: getattr(params, key) for key in (*constraint, "grammar")}
        return Verdict("fits", "", fields, name, int(size))

    def _keeps_up(self, backend: Any, grammar: Any) -> bool:
        """Whether a grammar judges some tokens, as they may come, each in its time."""
        mask, chance = backend.allocate_token_bitmask(1), random.Random(0)
        ends = frozenset(self._tokenizer.all_special_ids)
        for _ in range(TRIED_TOKENS):
            began = time.thread_time()
            grammar.fill_bitmask(mask, 0)
            token = _some_token(mask[0].tolist(), ends, chance)
            if token is None or not grammar.accept_tokens("", [token]) or grammar.is_terminated():
                return True
            if time.thread_time() - began > self._step_s:
                return False
        return True

    def _backend(self, name: str) -> Any:
        if name not in self._backends:
            self._backends[name] = make_backend(
                name, self._config, self._tokenizer, self._vocab_size
            )
        return self._backends[name]


def make_backend(name: str, config: Any, tokenizer: Any, vocab_size: int) -> Any:
    """A backend of vLLM's that compiles in the thread that it is called from, and no other.

    Raises:
        ValueError: a backend that is not used here.
    """
    if name == "xgrammar":
        import vllm.envs
        import xgrammar
        from vllm.v1.structured_output.backend_xgrammar import XgrammarBackend

        backend = XgrammarBackend(config, tokenizer=tokenizer, vocab_size=vocab_size)
        info = backend.compiler.compile_json_schema('{"type": "boolean"}').tokenizer_info
        cache_bytes = vllm.envs.VLLM_XGRAMMAR_CACHE_MB * 2**20
        backend.compiler = xgrammar.GrammarCompiler(
            info, max_threads=1, cache_enabled=True, cache_limit_bytes=cache_bytes
        )
        return backend
    if name == "guidance":
        from vllm.v1.structured_output.backend_guidance import GuidanceBackend

        return GuidanceBackend(config, tokenizer=tokenizer, vocab_size=vocab_size)
    raise ValueError(
        "the schema has what cannot be held to here: 'patternProperties' beside 'properties' or "
        "other constraints of names; leave one of them out"
    )


def _some_token(mask: list[int], ends: frozenset[int], chance: random.Random) -> int | None:
    """A token that a mask of 32 tokens a number allows and that ends nothing, if there is one."""
    words = [number for number, bits in enumerate(mask) if bits]
    chance.shuffle(words)
    for word in words:
        allowed = [32 * word + bit for bit in range(32) if mask[word] >> bit & 1]
        if going_on := [token for token in allowed if token not in ends]:
            return chance.choice(going_on)
    return None


def read_job(line: str) -> dict[str, Any]:
    """A job's or an answer's fields, from a line of JSON."""
    fields: dict[str, Any] = json.loads(line)
    return fields
