"""`python -m dbsafety`."""

from __future__ import annotations

from dbsafety.cli.main import run

if __name__ == "__main__":
    run()
