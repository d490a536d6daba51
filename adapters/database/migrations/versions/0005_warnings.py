"""What was noticed about an upload, with the version that it made."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Let versions keep it; there is nothing to tell of those before."""
    op.add_column("versions", sa.Column("warnings", sa.JSON, nullable=False, server_default="[]"))


def downgrade() -> None:
    """Forget it."""
    op.drop_column("versions", "warnings")
