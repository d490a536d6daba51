"""The engine's part that runs in the server's process."""
