"""LoRA weights on disk: format, validation, conversion, store, registry."""
