"""A request's constraint on its way into the engine: compiled apart first, within its bounds."""

from dataclasses import fields
from typing import Any, Final

from vllm.exceptions import VLLMValidationError

from server.engine.structured.compilations import Compilations
from server.engine.structured.trial import Verdict
from server.engine.structured.vllm_hooks import TOO_SLOW

_FIELDS: Final = "'structured_outputs', 'response_format', 'text' or 'tools'"
_REASONS: Final = {
    "steps": (
        "its grammar takes too long for each token, as it can be read in too many ways; nest no "
        "repetitions, and begin alternatives differently"
    ),
    "time": (
        "it takes too long to compile; give fewer alternatives, shorter repetitions (maxLength, "
        "{m,n}), fewer properties or fewer levels"
    ),
    "memory": "it takes too much memory to compile; give fewer alternatives and repetitions",
    "failed": "it cannot be compiled; give a simpler one",
}


async def compile_apart(compilations: Compilations, tenant: str, params: Any) -> None:
    """Let a request through whose constraint compiles within its bounds, and note how.

    Args:
        compilations: where it is tried.
        tenant: whose request it is.
        params: vLLM's ``SamplingParams``; its constraint gets the form that the engine is to have.

    Raises:
        VLLMValidationError: the constraint does not compile, or not within its bounds.
        CompilerGone: the process that compiles has ended.
    """
    constraint = params.structured_outputs
    if constraint is None or constraint.all_constraints_none():
        return
    told = {
        one.name: getattr(constraint, one.name)
        for one in fields(constraint)
        if one.init and getattr(constraint, one.name) is not None
    }
    verdict = await compilations.verdict(tenant, told)
    if verdict.outcome == "refused":
        raise VLLMValidationError(verdict.message)
    if verdict.outcome != "fits":
        raise VLLMValidationError(_message(verdict))
    for name, value in (verdict.constraint or {}).items():
        setattr(constraint, name, value)
    constraint._backend, constraint._backend_was_auto = verdict.backend, True


def check_in_time(choice: Any) -> None:
    """Let a piece of an answer through that its grammar has not ended.

    Args:
        choice: vLLM's ``CompletionOutput``.

    Raises:
        VLLMValidationError: the grammar took longer for a token than it may.
    """
    if choice.finish_reason == "error" and choice.stop_reason == TOO_SLOW:
        raise VLLMValidationError(
            f"the constraint of the answer ({_FIELDS}) has ended it: {_REASONS['steps']}"
        )


def _message(verdict: Verdict) -> str:
    return f"the constraint of the answer ({_FIELDS}) is refused: {_REASONS[verdict.outcome]}"
