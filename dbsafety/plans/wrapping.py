"""Plans `with closing(connect(...)) as conn, conn:` around the life of a connection (facts C3a, C12)."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from dbsafety.drivers.spec import Effect, HandleKind
from dbsafety.model.rewrite import Applicability, EnsureImport, FixPlan, Rewrite, WrapInWith
from dbsafety.model.span import Span
from dbsafety.plans.leaving import is_left_uncommitted, works_after_close
from dbsafety.plans.reach import CONDITIONS
from dbsafety.typestate.ops import Op
from dbsafety.typestate.values import Function, handles
from dbsafety.views.view import FunctionView

_NO_MODE = frozenset({"row_factory", "text_factory", "cursor_factory"})
"""Attributes that may be set inside the block: they say nothing about transactions."""
_MODE = frozenset({"autocommit", "isolation_level", "readonly", "deferrable"})


def plan_closing(view: FunctionView, call: ast.Call, op: Op) -> tuple[FixPlan | None, str]:
    """The plan for the connection that `call` opens, or None and the reason for the refusal."""
    statement = view.statement_of(call)
    if not isinstance(statement, ast.Assign) or statement.value is not call or len(statement.targets) != 1:
        return None, "the opening is not a plain assignment"
    target = statement.targets[0]
    if not isinstance(target, ast.Name):
        return None, "the connection is not kept in a variable"
    if op.spec.is_async:
        return None, "asynchronous code needs `async with`"
    ops = [(node, other) for node, other in view.ops(op.key) if not other.opens]
    refusal = _refusal(view, ops, op, statement, target.id)
    if refusal:
        return None, refusal
    suite = view.suite_of(statement)
    last = last_use(view, suite[suite.index(statement) + 1 :], target.id)
    if last is None:
        return None, "the connection is not used in the suite that opens it"
    closing = view.module.name_for("contextlib.closing", view.scope)
    source = ast.unparse(call)
    block = op.spec.handles[HandleKind.CONNECTION].with_block
    rewrites: list[Rewrite] = []
    if block is not None and block.closes:
        items = f"{source} as {target.id}"
    else:
        items = f"{closing or 'closing'}({source}) as {target.id}, {target.id}"
        if closing is None:
            rewrites.append(EnsureImport("contextlib", "closing"))
    drop = tuple(Span.of(found) for found in _idle_closes(view, ops))
    rewrites.append(WrapInWith(Span.of(statement), Span.of(last), items, drop))
    return FixPlan(f"open `{target.id}` in a `with` block", Applicability.UNSAFE, tuple(rewrites), view.name), ""


def _refusal(view: FunctionView, ops: list[tuple[ast.Call, Op]], op: Op, statement: ast.Assign, name: str) -> str:
    effects = {other.effect for _, other in ops}
    if Effect.AUTOCOMMIT in effects or any(
        isinstance(a.value, ast.Name) and a.value.id == name and a.attr not in _NO_MODE for a, _ in view.info.assigns
    ):
        return "the function changes the mode of the connection, which is not allowed inside its `with` block"
    if op.mode is not None and op.mode.value == "transaction" and _writes_uncommitted(view, ops):
        return "the function writes without a commit, and the `with` block would commit"
    body = view.suite_of(statement)[view.suite_of(statement).index(statement) + 1 :]
    if is_left_uncommitted(view, op, ops, body):
        return "the function can leave what it wrote without a commit, and the `with` block would commit"
    if works_after_close(view, [node for node, other in ops if other.effect is Effect.CLOSE], body):
        return "after one of its `close()` calls the function goes on, and the `with` block would close only then"
    bound = [b for b in view.scope.bindings.get(name, ()) if b.node is not statement]
    if bound:
        return f"`{name}` is assigned more than once"
    if any(_enters(node, name) for s in view.suite_of(statement) for node in ast.walk(s)):
        # psycopg2 2.9: "the connection cannot be re-entered recursively".
        return f"`with {name}:` stands inside already, and a connection may not be entered twice"
    if any(_minds(view, facts.targets) for _, facts in view.calls() if op.key in facts.passed):
        return f"a function that gets `{name}` enters it or changes its mode, which its `with` block does not allow"
    outside = {id(n) for s in view.suite_of(statement) for n in ast.walk(s)}
    if any(id(node) not in outside for node, _ in ops):
        return "the connection is also used outside the suite that opens it"
    return ""


def _writes_uncommitted(view: FunctionView, ops: list[tuple[ast.Call, Op]]) -> bool:
    """Whether a statement writes, or may write, and no commit is sure to come behind it."""
    commits = [node for node, op in ops if op.effect is Effect.COMMIT]
    writes = [node for node, op in ops if _sends(op) and (op.statement.writes or op.statement.verb.value == "unknown")]
    return not all(any(_follows(view, commit, write) for commit in commits) for write in writes)


def _follows(view: FunctionView, commit: ast.Call, write: ast.Call) -> bool:
    """Whether the commit stands behind the write, under no condition that the write is not under, too."""
    around = set(map(id, view.around(write)))
    conditions = [outer for outer in view.around(commit) if isinstance(outer, CONDITIONS)]
    return (commit.lineno, commit.col_offset) > (write.lineno, write.col_offset) and all(
        id(outer) in around for outer in conditions
    )


def _minds(view: FunctionView, targets: Iterable[Function], depth: int = 3) -> bool:
    """Whether a called function, or one it calls, enters a connection that is not its own or changes its mode."""
    for target in targets:
        other = FunctionView(view.module, target.info)
        values = (other.resolver.evaluate(item.context_expr, other.scope) for item in other.frame.items())
        entered = (handle for value in values for handle in handles(value))
        changed = (op for _, op in other.ops() if op.effect is Effect.AUTOCOMMIT)
        assigned = (attribute for attribute, _ in target.info.assigns if attribute.attr in _MODE)
        if any(h.kind is HandleKind.CONNECTION and h.key.kind not in ("site", "local") for h in entered):
            return True
        if any(True for _ in changed) or any(True for _ in assigned):
            return True
        if depth and any(_minds(view, facts.targets, depth - 1) for _, facts in other.calls()):
            return True
    return False


def _enters(node: ast.AST, name: str) -> bool:
    items = node.items if isinstance(node, ast.With | ast.AsyncWith) else []
    return any(isinstance(item.context_expr, ast.Name) and item.context_expr.id == name for item in items)


def _sends(op: Op) -> bool:
    return op.effect in (Effect.EXECUTE, Effect.SCRIPT)


def last_use(view: FunctionView, following: list[ast.stmt], name: str) -> ast.stmt | None:
    """The last statement that speaks of the connection or of anything made from it in this suite."""
    names = {name}
    last: ast.stmt | None = None
    for statement in following:
        mentioned = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name)}
        if not mentioned.intersection(names):
            continue
        last = statement
        for node in ast.walk(statement):
            if isinstance(node, ast.Assign) and _is_handle(view, node.value):
                names.update(t.id for t in node.targets if isinstance(t, ast.Name))
    return last


def _is_handle(view: FunctionView, node: ast.expr) -> bool:
    return any(hasattr(value, "driver") for value in view.resolver.evaluate(node, view.scope))


def _idle_closes(view: FunctionView, ops: list[tuple[ast.Call, Op]]) -> list[ast.stmt]:
    """The `conn.close()` statements, which the block makes idle."""
    found: list[ast.stmt] = []
    for node, op in ops:
        statement = view.statement_of(node)
        if op.effect is Effect.CLOSE and isinstance(statement, ast.Expr) and statement.value is node:
            found.append(statement)
    return found
