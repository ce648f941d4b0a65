"""Drawn graphs: tests/fixtures/flow/NAME.py beside its drawing NAME.cfg; `--update-golden` writes the drawings anew."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from dbsafety.flow.build import build_cfg
from dbsafety.flow.draw import draw
from tests.flow.walk import can_suppress

FIXTURES = Path(__file__).parents[1] / "fixtures" / "flow"


def drawings(path: Path) -> str:
    """The first function of the file; of module.py the module itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    first = tree.body[0]
    function = first if isinstance(first, ast.FunctionDef | ast.AsyncFunctionDef) else tree
    return draw(build_cfg(function, can_suppress))


def test_every_source_has_a_drawing_and_the_other_way_round() -> None:
    assert {p.stem for p in FIXTURES.glob("*.py")} == {p.stem for p in FIXTURES.glob("*.cfg")}


@pytest.mark.parametrize("name", sorted(path.stem for path in FIXTURES.glob("*.py")))
def test_drawing(name: str, update_golden: bool) -> None:
    source, golden = FIXTURES / f"{name}.py", FIXTURES / f"{name}.cfg"
    if name == "exception_groups" and sys.version_info < (3, 11):
        with pytest.raises(SyntaxError):
            ast.parse(source.read_text(encoding="utf-8"))
        return
    drawn = drawings(source)
    if update_golden:
        golden.write_text(drawn, encoding="utf-8")
    assert drawn == golden.read_text(encoding="utf-8")


def test_a_truncated_graph_says_so() -> None:
    function = ast.parse("def f():\n    a(); b(); c()\n").body[0]
    assert isinstance(function, ast.FunctionDef)
    assert draw(build_cfg(function, budget=5)) == (
        "f: 3 steps, truncated\n   0    1  entry `f`\n   1    2  return end `f`\n   2    2  raise end `f`\n"
    )
