"""What Alembic runs: the steps, on the connection and within the transaction that `newsletter.store.upgrade` opened."""

from __future__ import annotations

from alembic import context

from newsletter.store.tables import metadata

_connection = context.config.attributes["connection"]
context.configure(
    connection=_connection,
    target_metadata=metadata,
    # SQLite cannot alter most things of a table: it is made anew, and its rows copied
    render_as_batch=_connection.dialect.name == "sqlite",
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
