"""A stand-in for the engine: code says which findings it wants, so that tests of the plumbing hang on no rule.

`bug("DBS101")` is a finding at the call, `bug("DBS101", "low")` one of low confidence, `bug("DBS101", fix=...)` one
whose fix replaces the call; `with_trace("DBS101")` has a trace of two steps. `crash()` makes a rule fail, `explode()`
the engine, `deep()` exhausts the stack, `budget()` a budget.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from dbsafety.model.faults import RuleCrash
from dbsafety.model.finding import Confidence, Finding, Severity, Step
from dbsafety.model.message import Message
from dbsafety.model.rewrite import Applicability, FixPlan, ReplaceExpression
from dbsafety.model.span import Span
from dbsafety.rules.run import RuleRun
from dbsafety.source.module import SourceModule
from dbsafety.typestate.frame import Frames

SLUGS = {
    "DBS101": "swallowed-error-no-rollback",
    "DBS102": "statement-in-aborted-transaction",
    "DBS201": "no-timeout",
    "DBS301": "stale-lastrowid",
    "DBS302": "check-then-insert",
}


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the stand-in in the place of the engine."""
    monkeypatch.setattr("dbsafety.check.module.run_rules", run_rules)
    monkeypatch.setattr("dbsafety.check.module.relevant", lambda data: b"bug(" in data or b"(" in data)


def run_rules(module: SourceModule, _frames: Frames, codes: frozenset[str], _options: object = None) -> RuleRun:
    calls = [
        (node, node.func.id, function) for function, node in _calls(module.tree) if isinstance(node.func, ast.Name)
    ]
    names = {name for _, name, _ in calls}
    if "explode" in names:
        raise ZeroDivisionError("the engine")
    if "deep" in names:
        raise RecursionError
    return RuleRun(
        tuple(_finding(call, module.path, scope) for call, name, scope in calls if name in ("bug", "with_trace")),
        (RuleCrash("DBS004 rule DBS101 failed", module.path),) if "crash" in names else (),
        (Step(module.path, Span(1, 0, 1, 0), "a budget was used up"),) if "budget" in names else (),
    )


def _calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            yield from ((function.name, node) for node in ast.walk(function) if isinstance(node, ast.Call))
    inside = {
        id(node) for function in ast.walk(tree) if isinstance(function, ast.FunctionDef) for node in ast.walk(function)
    }
    yield from (("", node) for node in ast.walk(tree) if isinstance(node, ast.Call) and id(node) not in inside)


def _finding(call: ast.Call, path: str, scope: str) -> Finding:
    code, *more = (argument.value for argument in call.args if isinstance(argument, ast.Constant))
    keywords = {
        keyword.arg: keyword.value.value for keyword in call.keywords if isinstance(keyword.value, ast.Constant)
    }
    span = Span.of(call)
    fix = keywords.get("fix")
    assert isinstance(call.func, ast.Name)
    return Finding(
        code=str(code),
        slug=SLUGS[str(code)],
        path=path,
        span=span,
        said=Message(str(keywords.get("message", "it is wrong"))),
        severity=Severity.ERROR,
        confidence=Confidence(more[0]) if more else Confidence.HIGH,
        trace=(
            (Step(path, span, "it fails"), Step(path, Span(span.line, 0, span.line, 1), "it ends"))
            if call.func.id == "with_trace"
            else ()
        ),
        fix=FixPlan("mend it", Applicability.SAFE, (ReplaceExpression(span, str(fix)),)) if fix is not None else None,
        scope=scope,
        fix_refusal=str(keywords.get("refusal", "")),
    )
