"""Policies that were put over HTTP: kept in the registry's database, over those of the file."""
