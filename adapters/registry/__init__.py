"""Names and versions for contents: what exists, kept over restarts."""
