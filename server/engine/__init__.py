"""Everything that touches vLLM: the embedded engine, the gated bank and the worker plugin."""
