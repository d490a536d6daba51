"""The tables of keys and of what admins did, in the registry's database.

api_keys   id → digest of a key and what it may do; rows are revoked, never deleted
audit      what admins did, in order; rows are added, and the oldest pruned

Two counts tell whether any key has changed, since rows only ever come and get revoked.
"""

from sqlalchemy import JSON, BigInteger, Column, Float, Integer, String, Table, Text

from adapters.database.tables import metadata

ID_CHARACTERS = 32

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(ID_CHARACTERS), primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("adapters", JSON(none_as_null=True)),
    Column("note", Text),
    Column("created", Float, nullable=False),
    Column("expires", Float),
    Column("revoked", Float),
    Column("last_used", Float),
    Column("requests_per_minute", Integer),
    Column("max_concurrent", Integer),
)

audit = Table(
    "audit",
    metadata,
    # SQLite numbers rows by itself only where the column is called INTEGER.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("time", Float, nullable=False),
    Column("actor", String(ID_CHARACTERS), nullable=False),
    Column("action", String(64), nullable=False),
    Column("target", Text, nullable=False),
    Column("outcome", String(64), nullable=False),
    Column("detail", JSON, nullable=False),
    Column("request_id", String(64)),
    sqlite_autoincrement=True,
)
