"""Every name that an adapter was ever given, numbered."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the table, and number the names that there are in the order in which they came."""
    given = op.create_table(
        "given_names",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("name", sa.String(128), nullable=False),
    )
    # The oldest version that is kept may be a later one than the first; no better is known.
    came = sa.text(
        "SELECT adapters.name FROM adapters JOIN versions ON versions.name = adapters.name "
        "GROUP BY adapters.name ORDER BY MIN(versions.created), adapters.name"
    )
    names = op.get_bind().execute(came).scalars().all()
    op.bulk_insert(given, [{"number": n, "name": name} for n, name in enumerate(names)])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("given_names")
