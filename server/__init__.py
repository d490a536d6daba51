"""HTTP in, tokens out: the app, its routes, settings and the embedded engine."""
