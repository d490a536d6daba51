"""Adapter files of strangers, read strictly: PEFT's config, tensor names, factors."""
