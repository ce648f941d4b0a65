"""What the last assignment on the way says about a test."""

from __future__ import annotations

import ast

import pytest

from dbsafety.flow.graph import Step, StepKind
from dbsafety.typestate.flags import is_empty, truth


def way(*statements: str) -> list[Step]:
    """Steps that bind, one for each statement; `except E as name:` stands for the begin of that handler."""
    steps = []
    for statement in statements:
        if statement.startswith("except"):
            (attempt,) = ast.parse(f"try: pass\n{statement} pass").body
            assert isinstance(attempt, ast.Try)
            steps.append(Step(0, StepKind.HANDLER, attempt.handlers[0], 1))
        else:
            (node,) = ast.parse(statement).body
            steps.append(Step(0, StepKind.BIND, node, 1))
    return steps


@pytest.mark.parametrize(
    ("test", "statements", "told"),
    [
        ("ok", ("ok = True", "ok = False"), False),
        ("ok", ("ok = False", "ok = True"), True),
        ("ok", ("ok: bool = False",), False),
        ("ok", ("ok = 0", "other = 1"), False),
        ("ok", ("ok = None",), False),
        ("ok is None", ("ok = None",), True),
        ("ok is not None", ("ok = None",), False),
        ("ok is None", ("ok = 0",), False),
        ("ok == None", ("ok = None",), True),
        ("failure", ("except OSError as error:", "failure = error"), True),
        ("failure is not None", ("failure = None", "except OSError as error:", "failure = error"), True),
        ("error", ("except OSError as error:",), True),
        ("ok", ("ok = True", "ok = make()"), None),
        ("ok", ("ok = True", "ok += 1"), None),
        ("ok", ("ok = True", "ok, other = pair"), None),
        ("ok", ("ok = True", "del ok"), None),
        ("ok", ("ok = ok",), None),
        ("ok", (), None),
        ("ok > 1", ("ok = 2",), None),
        ("self.ok", ("self.ok = True",), None),
    ],
)
def test_tests_of_a_variable(test: str, statements: tuple[str, ...], told: bool | None) -> None:
    assert truth(ast.parse(test, mode="eval").body, way(*statements)) is told


@pytest.mark.parametrize(
    ("statements", "empty"),
    [
        (("found = []",), True),
        (("found: list[int] = []", "other = [1]"), True),
        (("found = ()",), True),
        (("found = {}",), True),
        (("found = [1]",), False),
        (("found = {1: 2}",), False),
        (("found = other",), False),
        (("other = []",), False),
        (("found = [1]", "found = []"), True),
        (("found = []", "print(len(found))"), True),
        (("found = []", "len(found)"), True),
        (("found = []", "found.append(1)"), False),
        (("found = []", "fill(found)"), False),
        (("found = []", "fill(into=found)"), False),
    ],
)
def test_loops_over_a_variable_that_is_still_empty(statements: tuple[str, ...], empty: bool) -> None:
    assert is_empty(ast.Name("found"), [called(step) for step in way(*statements)]) is empty


def called(step: Step) -> Step:
    """The step of the call where the statement is nothing else."""
    if isinstance(step.node, ast.Expr):
        return Step(0, StepKind.CALL, step.node.value, 1)
    return step
