"""Adapters, their versions and their contents."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the three tables."""
    op.create_table(
        "contents",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("base_model", sa.Text),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("ranks", sa.JSON, nullable=False),
        sa.Column("lora_alpha", sa.Float, nullable=False),
        sa.Column("target_modules", sa.JSON, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("parameters", sa.BigInteger, nullable=False),
        sa.Column("fitted", sa.Text, nullable=False),
    )
    op.create_table(
        "versions",
        sa.Column("name", sa.String(128), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("digest", sa.String(64), sa.ForeignKey("contents.digest"), nullable=False),
        sa.Column("created", sa.Float, nullable=False),
    )
    op.create_index("ix_versions_digest", "versions", ["digest"])
    op.create_table(
        "adapters",
        sa.Column("name", sa.String(128), primary_key=True),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("routing", sa.JSON, nullable=False),
        sa.ForeignKeyConstraint(["name", "number"], ["versions.name", "versions.number"]),
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("adapters", "versions", "contents"):
        op.drop_table(table)
