"""The table of policies that were put over HTTP, in the registry's database.

policies   (name, number) → options; the highest number of a name counts, lower ones are its earlier
           versions

Every change raises the registry's revision, so that writers of all servers take turns, and servers
that share a database see that something has changed.
"""

from sqlalchemy import JSON, Column, Float, Integer, String, Table

from adapters.database.tables import NAME_CHARACTERS, metadata

VERSION_CHARACTERS = 64

policies = Table(
    "policies",
    metadata,
    Column("name", String(NAME_CHARACTERS), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("version", String(VERSION_CHARACTERS), nullable=False),
    Column("options", JSON, nullable=False),
    Column("created", Float, nullable=False),
)
