"""Which registry this is, and how often it has changed: what servers sharing it look at."""

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the registry's own row, and let each name tell when it changed."""
    registry = op.create_table(
        "registry",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("key", sa.String(32), nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(registry, [{"id": 1, "key": uuid.uuid4().hex, "revision": 0}])
    op.add_column(
        "adapters", sa.Column("changed", sa.BigInteger, nullable=False, server_default="0")
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_column("adapters", "changed")
    op.drop_table("registry")
