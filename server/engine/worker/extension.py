"""What the workers answer to calls of the server: mixed into vLLM's worker class.

Every method is prefixed, since vLLM refuses names that its worker already has.
"""

from pathlib import Path
from typing import Any

import torch
from vllm.lora.request import LoRARequest

from server.engine.bank.kernels.operator import installed_kernel
from server.engine.bank.punica import BoundLayer
from server.engine.cores import keep_to
from server.engine.trace_channel import TraceSender
from server.engine.worker.runner_state import bank_of, reweigher, slot_table, staging
from server.engine.worker.step_hook import HOOK_MARK, LOG_ATTRIBUTE


class BankWorker:
    """Worker extension: the slot table and the probe."""

    model_runner: Any
    add_lora: Any
    pin_lora: Any
    remove_lora: Any

    def loralloy_keep_to(self, cores: tuple[int, ...]) -> None:
        """Compute on these processor cores alone."""
        keep_to(cores)

    def loralloy_load(
        self, adapter_id: int, name: str, folder: str, facts: tuple[int, float], seconds: float
    ) -> bool:
        """Read on an adapter for so long; once it is read, copy it into a slot, where it stays.

        Args:
            adapter_id: a new one begins a new adapter.
            name: the adapter's digest.
            folder: its files.
            facts: its rank and its scaling.
            seconds: what this part may take; with little of it left, the copy becomes the next.

        Returns:
            Whether it is in its slot.
        """
        table = slot_table(self.model_runner)
        if adapter_id in table.ranks:
            return True
        if not staging(self.model_runner).read(adapter_id, folder, seconds):
            return False
        request = LoRARequest(lora_name=name, lora_int_id=adapter_id, lora_path=folder)
        self.add_lora(request)
        self.pin_lora(adapter_id)
        table.ranks[adapter_id], table.scalings[adapter_id] = facts
        return True

    def loralloy_unload(self, adapter_id: int) -> None:
        """Take an adapter out of its slot, or out of what is read, wherever it is."""
        table = slot_table(self.model_runner)
        staging(self.model_runner).drop(adapter_id)
        self.remove_lora(adapter_id)
        table.ranks.pop(adapter_id, None)
        table.scalings.pop(adapter_id, None)

    def loralloy_encoders(self, spec: str, static: str | None, traces: str) -> None:
        """Begin to load the encoders by which running requests are weighed again.

        Args:
            spec: as ``router.encoders.make_encoder`` takes it.
            static: folder or name of the static encoder, or None.
            traces: address that weighings are reported to.
        """
        from transformers import AutoTokenizer

        weigher = reweigher(self.model_runner)
        config = self.model_runner.model_config
        weigher.decoder = AutoTokenizer.from_pretrained(config.tokenizer)
        if getattr(self, "rank", 0) == 0:  # the others weigh the same
            weigher.report = TraceSender(traces).send
        dtype = "bfloat16" if config.dtype is torch.bfloat16 else "float32"
        weigher.load(spec, static, Path(config.tokenizer), dtype)

    def loralloy_put_policy(self, key: str, wire: dict[str, Any], ids: dict[str, int]) -> None:
        """Take in a policy for requests whose weights follow their answer.

        Args:
            key: the name by which requests refer to it.
            wire: ``Reweighing.to_wire()``.
            ids: digest → adapter id of its adapters, which are in slots.
        """
        reweigher(self.model_runner).put(key, wire, ids)

    def loralloy_drop_policy(self, key: str) -> None:
        """Forget a policy that no request uses any more."""
        reweigher(self.model_runner).drop(key)

    def loralloy_probe(self) -> dict[str, Any]:
        """What is live in this worker, for the handshake at start and for ``/ready``."""
        runner = self.model_runner
        manager = runner.lora_manager._adapter_manager
        table = slot_table(runner)
        weigher = reweigher(runner)
        hook = type(runner).set_active_loras
        first = next(iter(manager.modules.values()))
        return {
            "wrapper": type(bank_of(runner)).__name__,
            "runner": type(runner).__name__,
            "hooked": bool(getattr(hook, HOOK_MARK, False)),
            "bound": isinstance(first.punica_wrapper, BoundLayer),
            "kernel": installed_kernel() is not None,
            "slots": list(manager.lora_index_to_id),
            "known": sorted(table.ranks),
            "modules": len(manager.modules),
            "steps": table.steps,
            "mixed_steps": table.mixed_steps,
            "step_mixtures": table.mixtures,
            "policies": len(weigher.policies),
            "weighings": weigher.weighings,
            "failed_weighings": weigher.failures,
            "gate_logs": sum(hasattr(state, LOG_ATTRIBUTE) for state in runner.requests.values()),
        }
