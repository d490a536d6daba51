"""Uploads judged before anything is stored: facts, or the exact reason for a refusal."""
