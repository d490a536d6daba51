"""Which names are being removed, so that a server that starts again goes on with it."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the column: nothing is being removed."""
    op.add_column(
        "adapters", sa.Column("removing", sa.Boolean, nullable=False, server_default=sa.false())
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_column("adapters", "removing")
