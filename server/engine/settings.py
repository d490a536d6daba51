"""Settings of the embedded engine: what is served and within which limits."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from server.engine.machine.cores import CORES_PATTERN, UNBOUND, listed

ADAPTER_LINEARS = (
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "gate_proj",
    "up_proj",
    "down_proj",
)
"""The linears that adapters may touch. lm_head and the embeddings stay unwrapped: wrapped, they
would cost every step a gather over the vocabulary."""

RANK_LIMITS = (8, 16, 32, 64, 128, 256, 320, 512)
"""The values of ``max_lora_rank`` that vLLM 0.32 accepts (without 1)."""


class EngineSettings(BaseModel):
    """How the engine is started. One sentence a field; the defaults suit a small CPU machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = Field(
        None,
        description="Base model: a local folder or a hub name; by default the bundled small model.",
    )
    served_model_name: str | None = Field(
        None, description="Name of the base model on the wire; by default the model's own."
    )
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        "auto",
        description="Number format of weights and activations; auto: what the processor does best.",
    )
    max_model_len: int = Field(2048, ge=64, description="Longest prompt plus answer, in tokens.")
    max_num_seqs: int = Field(32, ge=1, description="Most requests decoded in one step.")
    max_num_batched_tokens: int = Field(
        512,
        ge=64,
        description="Most tokens computed in one step, which whoever comes meanwhile waits for.",
    )
    max_loras: int = Field(16, ge=1, le=256, description="Adapter slots of the engine.")
    max_lora_rank: int = Field(32, description="Largest rank of an adapter that a slot can hold.")
    kv_cache_gib: int = Field(1, ge=1, description="Memory for keys and values on CPU, in GiB.")
    threads: str = Field(
        UNBOUND,
        pattern=rf"\A({CORES_PATTERN})\z",
        description="CPU cores of the engine: nobind, or a list such as 0-3.",
    )
    compile: Literal["beside", "start", "never"] = Field(
        "beside",
        description=(
            "When the base model is compiled, which needs a C++ compiler on CPU: beside the first "
            "server for the next start, before the first server serves, or never."
        ),
    )
    enable_prefix_caching: bool = Field(
        True, description="Reuse keys and values of equal prefixes."
    )
    block_size: int | None = Field(None, description="Tokens in a block of keys and values.")
    num_gpu_blocks: int | None = Field(
        None, description="Override of the number of key-value blocks, for tests."
    )
    chat_template: Path | None = Field(
        None, description="Chat template file; a model without one gets Alpaca's form."
    )
    tool_call_parser: str = Field("hermes", description="vLLM's parser of tool calls.")
    seed: int = Field(0, description="Seed of the engine's sampler.")
    cache_dir: Path | None = Field(None, description="Where compiled artefacts are kept.")

    @field_validator("threads")
    @classmethod
    def _check_cores(cls, cores: str) -> str:
        listed(cores)
        return cores

    @model_validator(mode="after")
    def _check_step(self) -> Self:
        if self.max_num_batched_tokens < self.max_num_seqs:
            raise ValueError(
                f"max_num_batched_tokens ({self.max_num_batched_tokens}) is below max_num_seqs "
                f"({self.max_num_seqs}): a step has a token of each request that is decoded; raise "
                "the former or lower the latter"
            )
        return self
