"""Patterns over project paths."""

from __future__ import annotations

import pytest

from dbsafety.config.globs import matches


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("build", "build"),
        ("build", "a/build/b.py"),
        ("tests/", "tests/a.py"),
        ("tests/", "x/tests/a.py"),
        ("test_*.py", "a/b/test_x.py"),
        ("tests/fixtures", "tests/fixtures/a/b.py"),
        ("/a.py", "a.py"),
        ("./a.py", "a.py"),
        ("*/b.py", "a/b.py"),
        ("**/migrations/**", "a/migrations/b/c.py"),
        ("**/migrations/**", "migrations/c.py"),
        ("a/**/z.py", "a/z.py"),
        ("a/**/z.py", "a/b/c/z.py"),
        ("a\\b.py", "a/b.py"),
        ("[ab].py", "b.py"),
    ],
)
def test_matches(pattern: str, path: str) -> None:
    assert matches(path, ["nothing", pattern])


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("", "a.py"),
        ("build", "builder/a.py"),
        ("tests/", "tests"),
        ("tests/fixtures", "x/tests/fixtures/a.py"),
        ("/a.py", "b/a.py"),
        ("*/b.py", "a/c/b.py"),
        ("*.py", "a.pyi"),
        ("A.py", "a.py"),
    ],
)
def test_does_not_match(pattern: str, path: str) -> None:
    assert not matches(path, [pattern])


def test_a_pattern_for_folders_takes_a_path_that_is_one() -> None:
    assert matches("x/tests", ["tests/"], folder=True)
