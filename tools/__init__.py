"""What is run while developing; nothing of the server imports it."""
