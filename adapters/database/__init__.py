"""Names, versions, keys and policies as rows: one database, one line of migrations.

The tables of keys and of policies are declared beside the code that uses them
(``server.access.tables``, ``server.policies.tables``); their migrations stand here, since Alembic
keeps one line of versions for a database.
"""
