"""Adapters merged into one, by PEFT's rules."""
