"""Where adapters' texts lie in an encoder's space, and how near a text is to each."""
