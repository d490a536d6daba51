"""Structured output: what an answer may be held to."""
