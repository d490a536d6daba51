"""The engine's part that runs in vLLM's worker."""
