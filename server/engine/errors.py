"""Errors of the engine.

EngineError
├── EngineStartError   it did not start
├── EngineLoadError    an adapter could not be put into a slot
└── EngineFull         no slot is free

What vLLM raises of a request is no part of that tree: :func:`refusal` reads it.
"""

import sys


class EngineError(Exception):
    """Root of the engine's errors."""

    code = "engine_error"


class EngineStartError(EngineError):
    """The engine did not start, or started without the bank."""

    code = "engine_start_failed"


class EngineLoadError(EngineError):
    """vLLM refused an adapter that our validation let through."""

    code = "adapter_load_failed"


class EngineFull(EngineError):
    """Every slot holds an adapter."""

    code = "adapter_slots_full"


def refusal(error: Exception) -> dict[str, str | None] | None:
    """What vLLM says of a request that it refuses, as ``message`` and ``param``.

    Starlette raises another error from one that comes once the answer has begun.

    Returns:
        None for any other error, which is no fault of the request.
    """
    vllm = sys.modules.get("vllm.exceptions")
    if vllm is None:  # it has raised nothing
        return None
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, vllm.VLLMValidationError):
            return {"message": str(cause.args[0]), "param": getattr(cause, "parameter", None)}
        cause = cause.__cause__
    return None
