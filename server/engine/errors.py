"""Errors of the engine.

EngineError
├── EngineStartError   it did not start
├── EngineLoadError    an adapter could not be put into a slot
└── EngineFull         no slot is free
"""


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
