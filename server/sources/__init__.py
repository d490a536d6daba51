"""Adapters that the server fetches itself: from a hub, S3, HTTPS or a folder, by allow-list."""
