"""Plans `try: ... finally: pool.putconn(conn)` behind the call that takes a connection out of a pool."""

from __future__ import annotations

import ast

from dbsafety.model.rewrite import Applicability, FixPlan, WrapInTry
from dbsafety.model.span import Span
from dbsafety.plans.leaving import works_after_close
from dbsafety.plans.wrapping import last_use
from dbsafety.views.lending import Loan, returns_of
from dbsafety.views.view import FunctionView


def back_text(view: FunctionView, loan: Loan) -> str:
    """The call that gives the connection back, as this function writes it or would."""
    for call in returns_of(view, loan):
        return ast.unparse(call)
    name = loan.op.key.name if loan.op.key.kind == "local" else "conn"
    if loan.back == "close":
        return f"{name}.close()"
    pool = loan.call.func.value if isinstance(loan.call.func, ast.Attribute) else ast.Name("pool")
    return f"{ast.unparse(pool)}.{loan.back}({name})"


def plan_giving_back(view: FunctionView, loan: Loan) -> tuple[FixPlan | None, str]:
    """The plan for the connection, or None and the reason for the refusal."""
    statement = view.statement_of(loan.call)
    value = statement.value if isinstance(statement, ast.Assign) else None
    inner = value.value if isinstance(value, ast.Await) else value
    if not isinstance(statement, ast.Assign) or inner is not loan.call or len(statement.targets) != 1:
        return None, "the connection is not taken by a plain assignment"
    target = statement.targets[0]
    if not isinstance(target, ast.Name):
        return None, "the connection is not kept in a variable"
    if any(b.node is not statement and not _is_none(b.value) for b in view.scope.bindings.get(target.id, ())):
        return None, f"`{target.id}` is assigned more than once"
    suite = view.suite_of(statement)
    following = suite[suite.index(statement) + 1 :]
    last = last_use(view, following, target.id)
    if last is None:
        return None, "the connection is not used in the suite that takes it"
    below = {id(node) for part in following[: following.index(last) + 1] for node in ast.walk(part)}
    back = [view.statement_of(call) for call in returns_of(view, loan)]
    plain = [part for part in back if isinstance(part, ast.Expr)]
    if len(plain) < len(back) or any(id(part) not in below for part in plain):
        return None, "the connection is also given back outside the suite that takes it"
    if not plain and loan.back != "close" and not isinstance(loan.call.func, ast.Attribute):
        return None, "how the connection is given back is not written here"
    if len({ast.unparse(part) for part in plain}) > 1:
        return None, "the connection is given back in more than one way"
    if works_after_close(view, returns_of(view, loan), following):
        return None, "the function goes on where it has given the connection back early"
    text = ast.unparse(plain[0]) if plain else back_text(view, loan)
    awaited = "await " if isinstance(value, ast.Await) and not plain else ""
    drop = tuple(Span.of(part) for part in plain)
    rewrite = WrapInTry(Span.of(statement), Span.of(last), f"{awaited}{text}\n", drop)
    return FixPlan(f"give `{target.id}` back in `finally`", Applicability.UNSAFE, (rewrite,), view.name), ""


def _is_none(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
