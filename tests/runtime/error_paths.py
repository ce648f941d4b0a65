"""Which lines of the runtime's error paths did the tests not run?

    coverage run --rcfile=tests/runtime/coverage.ini -m pytest -m "not soak" tests/runtime
    coverage combine --rcfile=tests/runtime/coverage.ini
    python tests/runtime/error_paths.py

An error path is every statement below an `except` or `finally`, or in an `__exit__`. Exit code 1 when one was not run.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import coverage

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "runtime" / "dbsafety_runtime"
PARTS = ("executor", "ops", "storage")


def error_lines(tree: ast.Module) -> Iterator[int]:
    """The first lines of the statements on error paths."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            yield from statements(node.body)
        elif isinstance(node, ast.Try):
            yield from statements(node.finalbody)
        elif isinstance(node, ast.FunctionDef) and node.name == "__exit__":
            yield from statements(node.body)


def statements(body: list[ast.stmt]) -> Iterator[int]:
    """The first lines of all statements in `body`, nested ones included."""
    for top in body:
        for node in ast.walk(top):
            if isinstance(node, ast.stmt):
                yield node.lineno


def main(parts: list[str]) -> int:
    """Print every line that was not run and how many there are."""
    run = coverage.Coverage(config_file=str(ROOT / "tests" / "runtime" / "coverage.ini"))
    run.load()
    total, missing = 0, []
    for path in sorted(path for part in parts for path in (PACKAGE / part).rglob("*.py")):
        seen = set(run.get_data().lines(str(path)) or ())
        text = path.read_text(encoding="utf-8")
        lines = sorted(set(error_lines(ast.parse(text))))
        total += len(lines)
        missing += [f"{path.relative_to(ROOT)}:{n}: {text.splitlines()[n - 1].strip()}" for n in lines if n not in seen]
    print("\n".join([*missing, f"{total - len(missing)} of {total} lines on error paths were run"]))
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(PARTS)))
