"""Every error in one shape: which status, which words, whose field."""
