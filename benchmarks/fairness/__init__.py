"""What one key can do to another: the worst of every route, beside a one-token request."""
