"""`python -m dbsafety_runtime.ops.serve`: a private PostgreSQL for another program, for as long as it wants one.

Prints the DSN on one line and stops the server when standard input ends. Exits with 2 and one sentence when there is
no server to be had.
"""

from __future__ import annotations

import sys

from dbsafety_runtime.ops.embedded import EmbeddedError, EmbeddedPostgres


def main() -> int:
    """Serve, and return the exit code."""
    try:
        with EmbeddedPostgres() as server:
            sys.stdout.write(f"{server.dsn}\n")
            sys.stdout.flush()
            sys.stdin.buffer.read()
    except EmbeddedError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
