"""Hand-made findings and plans for the tests of fixes, and a small rule that finds what a plan can mend."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence

from dbsafety.fix.loop import FixOutcome, fix_file
from dbsafety.model.finding import Confidence, Finding, Severity
from dbsafety.model.message import Message
from dbsafety.model.rewrite import Applicability, FixPlan, InsertFirst, Rewrite
from dbsafety.model.span import Span
from dbsafety.source.module import parse_tree
from dbsafety.source.text import SourceText

ROLLBACK = "conn.rollback()\n"


def span(source: str, beginning: str, kind: type[ast.AST] = ast.stmt) -> Span:
    """The span of the one node of this kind whose text begins so."""
    found = [node for node in nodes(source, kind) if text_of(source, node).startswith(beginning)]
    assert len(found) == 1, f"{len(found)} nodes begin with {beginning!r}"
    return Span.of(found[0])


def handler(source: str, number: int = 0) -> Span:
    """The span of a handler, counted in the order of the text."""
    return Span.of(nodes(source, ast.ExceptHandler)[number])


def nodes(source: str, kind: type[ast.AST]) -> list[ast.stmt | ast.expr | ast.ExceptHandler]:
    """The located nodes of a kind in the order of the text."""
    tree = parse_tree(SourceText.of(source), "")
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, kind) and isinstance(node, ast.stmt | ast.expr | ast.ExceptHandler)
    ]
    return sorted(found, key=lambda node: (node.lineno, node.col_offset))


def text_of(source: str, node: ast.stmt | ast.expr | ast.ExceptHandler) -> str:
    """The text of a node."""
    return SourceText.of(source).slice(Span.of(node))


def plan(*rewrites: Rewrite, grade: Applicability = Applicability.SAFE) -> FixPlan:
    """A plan of these rewrites."""
    return FixPlan("mend it", grade, rewrites)


def finding(at: Span, fix: FixPlan | None, code: str = "DBS101", scope: str = "", refusal: str = "") -> Finding:
    """A finding at a place."""
    return Finding(
        code, "slug", "m.py", at, Message("it is wrong"), Severity.ERROR, Confidence.HIGH, (), fix, scope, "", refusal
    )


def once(source: str, *plans: FixPlan) -> Callable[[bytes], Sequence[Finding]]:
    """A check that finds each plan's defect in exactly this source and nothing in any other."""
    found = tuple(finding(Span.line_start(number + 1), one) for number, one in enumerate(plans))
    return lambda data: found if data == source.encode() else ()


def mended(source: str, *rewrites: Rewrite) -> str:
    """The source with one plan carried out, which must pass every gate."""
    outcome = attempt(source, *rewrites)
    assert [refusal.reason for refusal in outcome.refused] == []
    assert len(outcome.applied) == 1
    return outcome.new.decode()


def refused(source: str, *rewrites: Rewrite) -> str:
    """Why the one plan of these rewrites is not carried out; the source must stay as it is."""
    outcome = attempt(source, *rewrites)
    assert outcome.new.decode() == source
    assert outcome.applied == ()
    (refusal,) = outcome.refused
    return refusal.reason


def attempt(source: str, *rewrites: Rewrite) -> FixOutcome:
    """What becomes of a source with one plan of these rewrites."""
    return fix_file(source.encode(), "m.py", once(source, plan(*rewrites)), unsafe=False)


def swallowing_handlers(data: bytes) -> tuple[Finding, ...]:
    """The rule of the toy: each handler that does not begin with a rollback, with the plan that inserts it."""
    text = SourceText.decode(data)
    tree = parse_tree(text, "m.py")
    return tuple(
        finding(Span.of(node), plan(InsertFirst(Span.of(node), ROLLBACK)), scope=scope)
        for scope, node in _handlers(tree, "")
        if not ast.unparse(node.body[0]).startswith("conn.rollback()")
    )


def _handlers(node: ast.AST, scope: str) -> Iterator[tuple[str, ast.ExceptHandler]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ExceptHandler):
            yield scope, child
        inner = f"{scope}.{child.name}" if isinstance(child, ast.FunctionDef | ast.ClassDef) else scope
        yield from _handlers(child, inner)
