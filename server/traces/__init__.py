"""Which mixture made which token: collected, told, kept for a while."""
