"""Structured output: what an answer may be held to, and the compilation of its grammar.

compilations    in the server: asks, waits, remembers; one compilation at a time for each key
compile_server  a process that forks one for each compilation, and ends it past its bounds
trial           what such a process does: compile as the engine will, and try some tokens
vllm_hooks      what vLLM does of it: no validation of its own, compiling at low priority
"""
