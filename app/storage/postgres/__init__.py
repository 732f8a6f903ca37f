"""The engine for a PostgreSQL database."""
