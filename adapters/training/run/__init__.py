"""One training run, from its base model to its saved adapter."""
