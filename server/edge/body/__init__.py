"""A body as it comes: decoded, bounded before it is parsed, and read beside the loop if large."""
