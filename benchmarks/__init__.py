"""Measurements of Loralloy. ``make bench`` runs them; results lie in ``benchmarks/results``."""
