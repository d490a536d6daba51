"""Leases over slots: loading, eviction, fair waiting, draining."""
