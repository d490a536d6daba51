"""How much adapters get in each other's way when they are merged: LoRI's claim, measured."""
