"""What the workers answer to calls of the server: mixed into vLLM's worker class.

Every method is prefixed, since vLLM refuses names that its worker already has.
"""

from pathlib import Path
from typing import Any

import torch
from vllm.lora.request import LoRARequest

from server.engine.bank.bound_layer import BoundLayer
from server.engine.machine.cores import keep_to
from server.engine.messages import BankProof, LoadAdapter, LoadEncoders, PutPolicy, WorkerReport
from server.engine.trace_channel import TraceSender
from server.engine.worker.proof import prove
from server.engine.worker.runner_state import (
    bank_of,
    gate_logs,
    lora_modules,
    reweigher,
    slot_table,
    staging,
)
from server.engine.worker.step_hook import HOOK_MARK


class BankWorker:
    """The calls. What they take and give is in :mod:`server.engine.messages`."""

    model_runner: Any
    add_lora: Any
    pin_lora: Any
    remove_lora: Any

    def loralloy_keep_to(self, cores: tuple[int, ...]) -> None:
        """Compute on these processor cores alone."""
        keep_to(cores)

    def loralloy_load(self, wire: dict[str, Any]) -> bool:
        """Read on an adapter for so long; once it is read, copy it into a slot, where it stays.

        With little of the time left, the copy becomes a part of its own.

        Args:
            wire: a :class:`LoadAdapter`.

        Returns:
            Whether it is in its slot.
        """
        part = LoadAdapter.from_wire(wire)
        table = slot_table(self.model_runner)
        if part.adapter_id in table.ranks:
            return True
        if not staging(self.model_runner).read(part.adapter_id, part.folder, part.seconds):
            return False
        request = LoRARequest(
            lora_name=part.digest, lora_int_id=part.adapter_id, lora_path=part.folder
        )
        self.add_lora(request)
        self.pin_lora(part.adapter_id)
        table.ranks[part.adapter_id] = part.rank
        table.scalings[part.adapter_id] = part.scaling
        return True

    def loralloy_unload(self, adapter_id: int) -> None:
        """Take an adapter out of its slot, or out of what is read, wherever it is."""
        table = slot_table(self.model_runner)
        staging(self.model_runner).drop(adapter_id)
        self.remove_lora(adapter_id)
        table.ranks.pop(adapter_id, None)
        table.scalings.pop(adapter_id, None)

    def loralloy_load_encoders(self, wire: dict[str, Any]) -> None:
        """Begin to load the encoders by which running requests are weighed again.

        Args:
            wire: a :class:`LoadEncoders`.
        """
        from transformers import AutoTokenizer

        message = LoadEncoders.from_wire(wire)
        weigher = reweigher(self.model_runner)
        config = self.model_runner.model_config
        weigher.decoder = AutoTokenizer.from_pretrained(config.tokenizer)
        if getattr(self, "rank", 0) == 0:  # the others weigh the same
            weigher.report = TraceSender(message.traces).send
        dtype = "bfloat16" if config.dtype is torch.bfloat16 else "float32"
        weigher.load(message.encoder, message.static, Path(config.tokenizer), dtype)

    def loralloy_put_policy(self, wire: dict[str, Any]) -> None:
        """Take in a policy for requests whose weights follow their answer.

        Args:
            wire: a :class:`PutPolicy`.
        """
        reweigher(self.model_runner).put(PutPolicy.from_wire(wire))

    def loralloy_drop_policy(self, key: str) -> None:
        """Forget a policy that no request uses any more."""
        reweigher(self.model_runner).drop(key)

    def loralloy_prove(self) -> dict[str, Any]:
        """What a row does in each LoRA layer, while no adapter is loaded: a :class:`BankProof`."""
        modules = lora_modules(self.model_runner)
        try:
            gates = bank_of(self.model_runner).gates
        except RuntimeError:  # the plugin is not live here
            return BankProof(tuple(modules), (), ()).to_wire()
        return prove(modules, gates).to_wire()

    def loralloy_report(self) -> dict[str, Any]:
        """What is live in this worker, and what it counts: a :class:`WorkerReport`."""
        runner = self.model_runner
        table = slot_table(runner)
        weigher = reweigher(runner)
        return WorkerReport(
            wrapper=type(bank_of(runner)).__name__,
            is_bound=all(
                isinstance(module.punica_wrapper, BoundLayer)
                for module in lora_modules(runner).values()
            ),
            is_hooked=bool(getattr(type(runner).set_active_loras, HOOK_MARK, False)),
            adapters=tuple(sorted(table.ranks)),
            policies=len(weigher.policies),
            gate_logs=gate_logs(runner),
            weighings=weigher.weighings,
            failed_weighings=weigher.failures,
            steps=table.steps,
            mixed_steps=table.mixed_steps,
            step_mixtures=table.step_mixtures,
        ).to_wire()
