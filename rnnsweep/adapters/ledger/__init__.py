"""The sweep's own record in SQLite or PostgreSQL."""
