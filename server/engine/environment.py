"""What vLLM and torch read from the environment, when they are imported or later."""

import atexit
import os
import shutil
import sys
import tempfile
from functools import cache

from server.engine.machine.cache_folder import cache_folder, usable
from server.engine.machine.compiler import find_compiler, one_word
from server.engine.machine.cores import thread_environment
from server.engine.settings import EngineSettings
from server.engine.structured.settings import StructuredOutputSettings
from server.engine.structured.vllm_hooks import STEP_VARIABLE


def set_environment(
    settings: EngineSettings, structured: StructuredOutputSettings, *, hub: bool
) -> None:
    """Set what is to hold in this process and in those that it starts.

    Args:
        settings: the engine's settings.
        structured: what constraints of answers may ask for.
        hub: whether the base model comes from a hub; otherwise nothing may ask one.
    """
    cache = usable(cache_folder(settings.cache_dir))
    values = {
        "VLLM_PLUGINS": "loralloy",
        "VLLM_USE_V2_MODEL_RUNNER": "0",
        "VLLM_NO_USAGE_STATS": "1",
        # A time by the clock, which a busy machine passes; trials have one of the processor's.
        "VLLM_REGEX_COMPILATION_TIMEOUT_S": "0",
        "VLLM_CPU_KVCACHE_SPACE": str(settings.kv_cache_gib),
        "VLLM_CACHE_ROOT": str(cache / "vllm"),
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
        STEP_VARIABLE: str(structured.max_step_ms),
        **thread_environment(settings.threads, os.environ),
    }
    os.environ.update(values)
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    if sys.platform == "linux":
        os.environ.setdefault("VLLM_RPC_BASE_PATH", _sockets())
        # Torch's process group listens on the address that the host's name has, from anywhere.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    if not hub:
        os.environ["HF_HUB_OFFLINE"] = "1"
    if (compiler := find_compiler()) is not None:
        os.environ["CXX"] = one_word(compiler, cache)
    else:
        # vLLM compiles a few helpers (of log-probabilities) whatever its settings, and a compiler
        # that is missing then would end the engine.
        os.environ["TORCHDYNAMO_DISABLE"] = "1"


@cache
def _sockets() -> str:
    """A folder for the sockets to the engine, which vLLM would leave in the one for all.

    It belongs to this user alone and goes when the process ends.
    """
    folder = tempfile.mkdtemp(prefix="loralloy-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
