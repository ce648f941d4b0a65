"""What new code reads must be bound where it stands: the gate for names."""

from __future__ import annotations

import ast

import pytest

from dbsafety.fix.names import require_bound
from dbsafety.model.faults import FixRefused

OPEN = "    with connect() as c: pass\n"
CLOSE = "    with closing(connect()) as c, c: pass\n"
IMPORT = "from contextlib import closing\n"
USE = f"def f():\n{OPEN}"


def check(source: str) -> None:
    assert OPEN in source
    require_bound(ast.parse(source), ast.parse(source.replace(OPEN, CLOSE)))


@pytest.mark.parametrize(
    "source",
    [
        IMPORT + USE,
        USE + IMPORT,  # the function runs later
        f"try:\n    {IMPORT}except ImportError:\n    closing = None\n{USE}",
        f"try:\n    {IMPORT}except ImportError:\n    from closings import closing\n{USE}",
        f"if 1:\n    {IMPORT}{USE}",
        f"def f():\n    {IMPORT}{OPEN}",
        f"def f(closing):\n{OPEN}",
        f"def f(closing):\n    def g():\n    {OPEN}",
        f"def closing(x): return x\n{USE}",
        f"from contextlib import *\n{USE}",
        f"def g():\n    global closing\n    {IMPORT}{USE}",
        f"if TYPE_CHECKING:\n    pass\nelse:\n    {IMPORT}{USE}",
        f"def f(x=closing):\n{OPEN}{IMPORT}",
        USE,  # bound nowhere
    ],
)
def test_names_that_are_bound(source: str) -> None:
    check(source)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (f"if TYPE_CHECKING:\n    {IMPORT}{USE}", "line 4, is not bound there"),
        (f"if typing.TYPE_CHECKING:\n    {IMPORT}{USE}", "line 4, is not bound there"),
        (f"class A:\n    closing = 1\n    def f(self):\n    {OPEN}", "line 4, is not bound there"),
        (f"def g():\n    {IMPORT}{USE}", "line 4, is not bound there"),
        (f"def f():\n{OPEN}    {IMPORT}", "line 2, is imported only at line 3"),
        (f"def f():\n{OPEN}    {IMPORT}    return closing\n", "line 2, is imported only at line 3"),
        (f"if 1:\n{OPEN}{IMPORT}", "line 2, is imported only at line 3"),
        (f"{IMPORT}{USE}closing = None\n", "line 3, means something else at line 4"),
        (f"{IMPORT}{USE}for closing in (): pass\n", "line 3, means something else at line 4"),
        (f"def f(closing):\n    {IMPORT}{OPEN}", "line 3, means something else at line 1"),
    ],
)
def test_names_that_may_not_be_bound(source: str, reason: str) -> None:
    with pytest.raises(FixRefused) as caught:
        check(source)
    assert str(caught.value) == f"the name closing, which the fix reads at {reason}"


def test_built_in_names_are_bound() -> None:
    require_bound(ast.parse("try: pass\nexcept: pass\n"), ast.parse("try: pass\nexcept Exception: pass\n"))
