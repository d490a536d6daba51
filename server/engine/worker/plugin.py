"""The vLLM plugin: puts the bank and the per-step hook into whichever process loads it.

vLLM calls :func:`register` (entry point ``vllm.general_plugins``) in the server, the engine core
and every worker, before models are built, possibly more than once. Each patch is named here and
nowhere else, and a contract test pins what it relies on.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from functools import wraps
from pathlib import Path
from typing import Any, Final

import torch

from server.engine import forkserver
from server.engine.bank.kernels.build import KERNEL_VARIABLE
from server.engine.machine.device import why_not_here
from server.engine.structured import vllm_hooks
from server.engine.worker.step_hook import HOOK_MARK

_PR_SET_PDEATHSIG: Final = 1


def register() -> None:
    """Install all patches; a second call changes nothing.

    Raises:
        RuntimeError: vLLM computes on something else than a CPU.
    """
    from vllm.platforms import current_platform

    platform = type(current_platform)
    if getattr(platform, "loralloy", False):
        return
    if reason := why_not_here(current_platform):
        raise RuntimeError(reason)
    _die_with_parent()
    _install_operator()
    name = "server.engine.bank.punica.GatedPunicaCPU"
    platform.get_punica_wrapper = classmethod(lambda cls: name)
    _keep_compilation(platform)
    _reuse_compilation()
    _bind_layers()
    _hook_steps()
    _fork_engine()
    vllm_hooks.install()
    platform.loralloy = True


def _die_with_parent() -> None:
    """Keep Ctrl-C from the engine's processes, and let none of them outlive the server.

    A terminal signals its whole foreground group, and vLLM's processes would die at once, before
    running answers are done; the server ends them afterwards. Should the server itself be killed,
    the kernel (Linux) kills them. It does so once for each of the server's threads that ends, and
    vLLM's handler of SIGTERM waits for itself when it is called while it runs: hence SIGKILL. What
    was forked off the fork server hears of that one's end from the kernel, and of the server's
    itself.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if not parent.is_alive():
            os._exit(1)
    if parent.pid != os.getppid():
        threading.Thread(target=_end_after, args=(parent,), daemon=True, name="lifeline").start()


def _end_after(parent: Any) -> None:
    parent.join()
    os._exit(1)


def _install_operator() -> None:
    from server.engine.bank.kernels import operator

    kernel = os.environ.get(KERNEL_VARIABLE)
    operator.install(Path(kernel) if kernel else None)


def _keep_compilation(platform: Any) -> None:
    """Let vLLM compile the model on CPU although LoRA is on.

    vLLM turns compilation off there because its LoRA ops cannot be traced; the bank is one opaque
    operator, so the base model compiles as it does without LoRA.
    """
    stock = platform.check_and_update_config.__func__

    @wraps(stock)
    def check_and_update_config(cls: Any, vllm_config: Any) -> None:
        lora_config = vllm_config.lora_config
        vllm_config.lora_config = None
        try:
            stock(cls, vllm_config)
        finally:
            vllm_config.lora_config = lora_config

    platform.check_and_update_config = classmethod(check_and_update_config)


def _reuse_compilation() -> None:
    """Let vLLM load on CPU what it compiled and saved at an earlier start.

    It asks the loaded function for ``finalize_loading``, which only its own GPU backend's has, and
    compiles anew when that is missing.
    """
    stock: Any = torch.compiler.load_compiled_function

    @wraps(stock)
    def load_compiled_function(*args: Any, **kwargs: Any) -> Any:
        loaded = stock(*args, **kwargs)
        compiled = loaded._artifacts.compiled_fn
        if not hasattr(compiled, "finalize_loading"):
            compiled.finalize_loading = lambda vllm_config: None
        return loaded

    setattr(torch.compiler, stock.__name__, load_compiled_function)


def _fork_engine() -> None:
    """Let vLLM take the engine's process from where the server's processes come from."""
    import vllm.v1.engine.utils as engine_processes

    engine_processes.get_mp_context = forkserver.context


def _bind_layers() -> None:
    from vllm.lora.model_manager import LoRAModelManager

    from server.engine.bank.punica import bind_layers

    stock = LoRAModelManager._create_lora_modules

    @wraps(stock)
    def create_lora_modules(self: Any) -> None:
        stock(self)
        bind_layers(self.modules)

    LoRAModelManager._create_lora_modules = create_lora_modules


def _hook_steps() -> None:
    from vllm.v1.worker.lora_model_runner_mixin import LoRAModelRunnerMixin

    from server.engine.worker.runner_state import bank_of, reweigher, slot_table
    from server.engine.worker.step_hook import fill_step

    stock = LoRAModelRunnerMixin.set_active_loras

    @wraps(stock)
    def set_active_loras(
        self: Any, input_batch: Any, num_scheduled_tokens: Any, *args: Any, **kwargs: Any
    ) -> None:
        lengths = [int(n) for n in num_scheduled_tokens]
        fill_step(self, slot_table(self), reweigher(self), bank_of(self).gates, lengths)
        stock(self, input_batch, num_scheduled_tokens, *args, **kwargs)

    setattr(set_active_loras, HOOK_MARK, True)
    LoRAModelRunnerMixin.set_active_loras = set_active_loras
