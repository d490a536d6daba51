"""The engine beside vLLM without LoRA and vLLM's own LoRA, all in one run."""
