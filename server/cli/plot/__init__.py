"""Figures of traces and of interference."""
