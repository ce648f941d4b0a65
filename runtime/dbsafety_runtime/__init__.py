"""The reference runtime: a PostgreSQL task executor and a SQLite orchestrator that cannot get stuck."""

__version__ = "0.1.0"
