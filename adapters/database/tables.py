"""The tables of adapters: contents by digest, versions of a name, and which version counts now.

contents     what was found in the two files of a digest; never changes
versions     (name, number) → digest; never changes
adapters     name → its version now, what the router may know of it, whether it is being removed
given_names  number → a name that an adapter was given; never changes, also when it goes
registry     one row: which registry this is, and a number that every change raises
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    false,
)

metadata = MetaData()

DIGEST_CHARACTERS = 64
NAME_CHARACTERS = 128

contents = Table(
    "contents",
    metadata,
    Column("digest", String(DIGEST_CHARACTERS), primary_key=True),
    Column("base_model", Text),
    Column("rank", Integer, nullable=False),
    Column("ranks", JSON, nullable=False),
    Column("lora_alpha", Float, nullable=False),
    Column("target_modules", JSON, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("parameters", BigInteger, nullable=False),
    Column("fitted", Text, nullable=False),
)

versions = Table(
    "versions",
    metadata,
    Column("name", String(NAME_CHARACTERS), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column(
        "digest",
        String(DIGEST_CHARACTERS),
        ForeignKey("contents.digest"),
        nullable=False,
        index=True,
    ),
    Column("created", Float, nullable=False),
    Column("warnings", JSON, nullable=False, server_default="[]"),
)

adapters = Table(
    "adapters",
    metadata,
    Column("name", String(NAME_CHARACTERS), primary_key=True),
    Column("number", Integer, nullable=False),
    Column("routing", JSON, nullable=False),
    Column("changed", BigInteger, nullable=False, server_default="0"),
    Column("removing", Boolean, nullable=False, server_default=false()),
    ForeignKeyConstraint(["name", "number"], ["versions.name", "versions.number"]),
)

given_names = Table(
    "given_names",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", String(NAME_CHARACTERS), nullable=False),
)

registry = Table(
    "registry",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("key", String(32), nullable=False),
    Column("revision", BigInteger, nullable=False),
)
