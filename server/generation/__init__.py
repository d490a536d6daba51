"""Chat, completions and responses: from a body to a mixture, and the answer back."""
