"""Which mixture made which token: collected, kept for a while, shown."""
