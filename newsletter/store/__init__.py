"""The database: tables, migrations, and the audience and the ledger on SQLite and PostgreSQL."""
