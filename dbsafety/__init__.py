"""Static analysis and verified autofixes for database error handling."""

__version__ = "0.1.0"
