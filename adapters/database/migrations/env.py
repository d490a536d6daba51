"""Alembic's environment: it runs on the connection that ``adapters.database.connection`` opened."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
