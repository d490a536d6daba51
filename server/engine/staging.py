"""In the worker: reading adapters in a thread, ahead of the copy into a slot.

vLLM reads, converts and packs an adapter between two steps, while every running answer waits. Here
a thread does all of that, by vLLM's own functions, and ``add_lora`` finds it done: what remains
between two steps is the copy.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from vllm.lora.request import LoRARequest


class Staging:
    """Adapters that were read and are in no slot yet, by vLLM's id.

    Args:
        manager: the runner's LoRA manager, whose way of reading is taken over.
    """

    def __init__(self, manager: Any) -> None:
        self._manager = manager
        self._read = manager._load_adapter
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="adapters")
        self._staged: dict[int, Future[Any]] = {}
        manager._load_adapter = self._take

    def begin(self, adapter_id: int, name: str, folder: str) -> None:
        """Begin to read an adapter."""
        request = LoRARequest(lora_name=name, lora_int_id=adapter_id, lora_path=folder)
        self._staged[adapter_id] = self._reader.submit(self._prepare, request)

    def is_ready(self, adapter_id: int) -> bool:
        """Whether an adapter has been read, or could not be: ``add_lora`` then says why."""
        return self._staged[adapter_id].done()

    def drop(self, adapter_id: int) -> None:
        """Forget an adapter that does not go into a slot after all."""
        staged = self._staged.pop(adapter_id, None)
        if staged is not None:
            staged.cancel()

    def _prepare(self, request: LoRARequest) -> Any:
        adapter = self._read(request)
        # vLLM does it again when it takes the adapter in, and then finds nothing left to pack.
        self._manager._adapter_manager._create_merged_loras_inplace(adapter)
        for weights in adapter.loras.values():
            weights.lora_b = _laid_out(weights.lora_b)
        return adapter

    def _take(self, request: LoRARequest) -> Any:
        """In the place of vLLM's reading: what was staged, or else what is read now."""
        staged = self._staged.pop(request.lora_int_id, None)
        return self._read(request) if staged is None else staged.result()


def _laid_out(weights: Any) -> Any:
    """B [out, rank] with its outputs contiguous, as the slots have it: the copy is then plain."""
    if isinstance(weights, list):
        return [None if one is None else _laid_out(one) for one in weights]
    return weights.t().contiguous().t()
