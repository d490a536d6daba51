"""Reading adapters in the worker, bit by bit between steps, ahead of the copy into a slot.

vLLM reads, converts and packs an adapter in one go between two steps, while every running answer
waits. Here that is done in parts of some milliseconds, with steps in between, and ``add_lora``
finds it done: what remains for it is the copy. A thread would not do: it and the step would wait
for each other's interpreter lock, and share the cores that the step counts on.
"""

from collections.abc import Generator
from pathlib import Path
from time import perf_counter
from typing import Any

from safetensors import safe_open
from vllm.lora.peft_helper import PEFTHelper
from vllm.lora.request import LoRARequest

from adapters.files import WEIGHTS_FILE

COPY_S = 0.012
"""About how long the copy takes, which cannot be parted."""

Reading = Generator[None, None, Any]


class Staging:
    """Adapters that are being read, or were and are in no slot yet, by vLLM's id.

    Args:
        manager: the runner's LoRA manager, whose way of reading is taken over.
    """

    def __init__(self, manager: Any) -> None:
        self._manager = manager
        self._read = manager._load_adapter
        self._reading: dict[int, Reading] = {}
        self._done: dict[int, Any] = {}
        manager._load_adapter = self._take

    def read(self, adapter_id: int, folder: str, seconds: float) -> bool:
        """Begin an adapter, or read it on, for about so long; say whether there is time to copy it.

        Raises:
            Exception: whatever vLLM has against the adapter.
        """
        end = perf_counter() + seconds
        if adapter_id in self._done:
            return True
        if adapter_id not in self._reading:
            self._reading[adapter_id] = _read(self._manager, adapter_id, Path(folder))
        while perf_counter() < end:
            try:
                next(self._reading[adapter_id])
            except StopIteration as stop:
                self._done[adapter_id] = stop.value
                del self._reading[adapter_id]
                return end - perf_counter() > COPY_S
        return False

    def drop(self, adapter_id: int) -> None:
        """Forget an adapter that does not go into a slot after all."""
        self._reading.pop(adapter_id, None)
        self._done.pop(adapter_id, None)

    def _take(self, request: LoRARequest) -> Any:
        """Instead of vLLM's reading: what was staged, or else what is read now."""
        staged = self._done.pop(request.lora_int_id, None)
        return self._read(request) if staged is None else staged


def _read(manager: Any, adapter_id: int, folder: Path) -> Reading:
    """Make the model that vLLM makes of an adapter; pause wherever there is time for a step.

    It was held to the base model when it was uploaded, so that vLLM's check of the names is left
    out.
    """
    helper = PEFTHelper.from_local_dir(str(folder), manager.max_position_embeddings)
    helper.validate_legal(manager.lora_config)
    dtype = manager.lora_config.lora_dtype
    tensors = {}
    with safe_open(folder / WEIGHTS_FILE, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118 - it is no mapping
            yield
            # A copy: what is mapped would be read from the disk when it is copied into the slot.
            tensors[name] = file.get_tensor(name).to(dtype, copy=True)
    yield
    model = manager._adapter_manager.model
    mapper = getattr(model, "hf_to_vllm_mapper", None)
    adapter = manager._lora_model_cls.from_lora_tensors(
        adapter_id,
        tensors,
        helper,
        device="cpu",
        dtype=dtype,
        model_vocab_size=manager.vocab_size,
        weights_mapper=None if mapper is None else mapper.get_rename_mapper(),
        skip_prefixes=getattr(model, "lora_skip_prefixes", None),
    )
    for weights in adapter.loras.values():
        yield
        weights.optimize()
        # Its outputs side by side, as the slots have them: the copy is then plain.
        weights.lora_b = weights.lora_b.t().contiguous().t()
    yield
    manager._adapter_manager._create_merged_loras_inplace(adapter)
    return adapter
