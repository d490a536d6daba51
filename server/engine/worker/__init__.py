"""The engine's part beside vLLM's: in its worker, and (``scheduler``) in its engine core."""
