"""How things are named in messages and traces, the same in every rule."""

from __future__ import annotations

import ast
from pathlib import PurePath

from dbsafety.drivers.spec import HandleKind
from dbsafety.facts.sql import shorten
from dbsafety.flow.graph import Step as FlowStep
from dbsafety.flow.graph import StepKind
from dbsafety.model.finding import Step
from dbsafety.model.rewrite import FixPlan
from dbsafety.model.span import Span
from dbsafety.typestate.attributes import ancestry
from dbsafety.typestate.report import End, Swallow, last_statement
from dbsafety.typestate.values import Handle, Key
from dbsafety.views.view import FunctionView

_LOCATED = (ast.expr, ast.stmt, ast.ExceptHandler)


def connection_name(view: FunctionView, key: Key, handle: Handle) -> str:
    """The connection in backticks, by the name this function uses, else by what it is."""
    spellings = sorted(view.spellings(key), key=lambda node: (not isinstance(node, ast.Attribute), node.lineno))
    if spellings:
        return f"`{ast.unparse(spellings[0])}`"
    cursors = view.spellings(key, HandleKind.CURSOR)
    if cursors:
        return f"the connection of `{ast.unparse(cursors[0])}`"
    if key.kind == "attr":
        cls = view.info.cls if view.info.self_name else None
        own = cls is not None and any(base.key == key.owner for base in ancestry(view.resolver, cls))
        return f"`self.{key.name}`" if own else f"`{key.owner.rpartition(':')[2]}.{key.name}`"
    if key.kind == "global" and key.owner != view.path and key.name.isidentifier():
        return f"`{key.name}` of {PurePath(key.owner).name}"
    if key.kind in ("local", "param", "global") and key.name.isidentifier():
        return f"`{key.name}`"
    return f"the {handle.driver} connection"


def call_text(view: FunctionView, node: ast.AST | None, limit: int = 44) -> str:
    """A call in backticks, its SQL cut short."""
    if isinstance(node, ast.withitem):
        return f"`with {_cut(ast.unparse(node.context_expr), limit)}`"
    if not isinstance(node, ast.Call):
        return f"`{_cut(ast.unparse(node), limit)}`" if node is not None else "a statement"
    name = _cut(ast.unparse(node.func), limit)
    facts = view.frame.call(node)
    sql = next((shorten(op.sql, limit) for op in facts.ops if op.sql), "")
    if sql:
        return f'`{name}("{sql}")`'
    return f"`{name}(…)`" if node.args or node.keywords else f"`{name}()`"


def handler_text(node: ast.AST | None) -> str:
    """An except clause, a suppressing `with`, or the statement that drops the exception, in backticks."""
    match node:
        case ast.ExceptHandler(type=None):
            return "`except:`"
        case ast.ExceptHandler(type=ast.expr() as kind):
            return f"`except {_cut(ast.unparse(kind), 50)}`"
        case ast.withitem(context_expr=expression):
            return f"`with {_cut(ast.unparse(expression), 50)}`"
        case ast.Return():
            return "`return` in `finally`"
        case ast.Break():
            return "`break` in `finally`"
        case ast.Continue():
            return "`continue` in `finally`"
    return "the `finally` block"


def span_of(node: ast.AST | None, fallback: int = 1) -> Span:
    """Where a node stands; an except clause is its header up to the type."""
    match node:
        case ast.ExceptHandler(type=ast.expr() as kind):
            whole = Span.of(node)
            return Span(whole.line, whole.col, kind.end_lineno or whole.line, kind.end_col_offset or whole.col)
        case ast.ExceptHandler():
            return Span(node.lineno, node.col_offset, node.lineno, node.col_offset + len("except"))
        case ast.withitem(context_expr=expression):
            return Span.of(expression)
        case ast.expr() | ast.stmt():
            return Span.of(node)
    return Span.line_start(fallback)


def witness(view: FunctionView, swallow: Swallow, end: End) -> tuple[Step, ...]:
    """The path that shows the defect: what fails, who catches it, where it ends."""
    path = swallow.paths[end]
    failing = swallow.fails.get(end)
    steps: list[Step] = []
    if failing is not None:
        steps.append(_step(view, failing, f"{call_text(view, failing.node)} fails"))
    if swallow.handler_step is not None:
        steps.append(_step(view, swallow.handler_step, f"caught by {handler_text(swallow.handler)}"))
    last = last_statement(path)
    if end in (End.STATEMENT, End.RETRY, End.INSIDE):
        steps.append(_step(view, last, f"{call_text(view, last.node)} runs in the failed transaction"))
    elif end is End.COMMIT:
        steps.append(_step(view, last, f"{call_text(view, last.node)} ends the failed transaction"))
    elif last is not swallow.handler_step:
        steps.append(_step(view, last, "the function ends normally, without a rollback"))
    return tuple(steps)


def _step(view: FunctionView, step: FlowStep, note: str) -> Step:
    node = step.node
    if step.kind in (StepKind.HANDLER_END, StepKind.UNBIND) and isinstance(node, ast.ExceptHandler):
        node = node.body[-1]
    return Step(view.path, span_of(node, step.line), note)


def undoing(plan: FixPlan | None, refusal: str, plainly: str) -> str:
    """How to undo the failed part: `plainly`, unless the fix, or the reason why there is none, knows of work to keep.

    One finding must not advise against what its fix does.
    """
    told = plan.title if plan is not None else refusal
    if "savepoint" in told:
        return "give the part that may fail a savepoint, or let the error go on"
    return "let the error leave the block" if "leave the block" in told else plainly


def place(step: FlowStep | None) -> str:
    """`on line N`, for messages."""
    return f"on line {step.line}" if step is not None else ""


def _cut(text: str, limit: int) -> str:
    # A backtick would end the piece of code in the message.
    line = " ".join(text.split()).replace("`", "'")
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
