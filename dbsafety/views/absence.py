"""Ways from a SELECT to an INSERT on which the program has found that the row is not there."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

from dbsafety.drivers.spec import HandleKind
from dbsafety.flow.graph import EdgeKind, StepKind
from dbsafety.model.finding import Confidence
from dbsafety.typestate.ops import CallFacts
from dbsafety.typestate.values import handles
from dbsafety.views.awaits import awaited
from dbsafety.views.sending import Sent, sent_by
from dbsafety.views.view import FunctionView

_Node = TypeVar("_Node", bound=ast.AST)
_ROWS = frozenset(
    {"fetchone", "fetchall", "fetchmany", "fetchval", "fetchrow", "first", "one_or_none", "all", "scalar", "scalars"}
    | {"scalar_one_or_none", "mappings", "one", "get"}
)
"""Methods that give rows, or a value of one."""
_WHOLE = frozenset({"len", "bool", "any", "list", "tuple", "set", "next", "dict", "int"})
_LIMIT = 4_000


class _Place(NamedTuple):
    """A step, the names that hold what was read, those of cursors that give it, whether the cursor that the SELECT was
    sent on still does, and the test that found nothing.
    """

    step: int
    names: frozenset[str]
    cursors: frozenset[str]
    live: bool
    test: int


@dataclass(frozen=True, slots=True)
class Absence:
    """`insert` is reached where `test` has said that `select` found no row."""

    select: Sent
    test: ast.expr
    insert: Sent


def absences(view: FunctionView, select: Sent, inserts: Mapping[int, Sent]) -> Iterator[Absence]:
    """The inserts, by step, that are reached on the way where nothing was found, each once."""
    return _Walk(view, select, inserts).run()


class _Walk:
    """The search from one SELECT along the ways without exceptions."""

    def __init__(self, view: FunctionView, select: Sent, inserts: Mapping[int, Sent]) -> None:
        self.view = view
        self.select = select
        self.inserts = inserts
        self.steps = view.cfg.steps
        made = handles(view.resolver.evaluate(select.call, view.scope))
        self.gives_cursor = any(handle.kind is HandleKind.CURSOR for handle in made)

    def run(self) -> Iterator[Absence]:
        start = self.view.step_of(self.select.call)
        if start is None:
            return
        queue = deque(_Place(edge.target, frozenset(), frozenset(), live=True, test=-1) for edge in start.succ)
        seen = set(queue)
        found: set[int] = set()
        while queue and len(seen) < _LIMIT:
            place = queue.popleft()
            insert = self.inserts.get(place.step)
            test = self.steps[place.test].node if place.test >= 0 else None
            if insert is not None and isinstance(test, ast.expr) and place.step not in found:
                found.add(place.step)
                yield Absence(self.select, test, insert)
            for following in self._following(place):
                if following not in seen and following.step != start.index:
                    seen.add(following)
                    queue.append(following)

    def answers(self) -> bool:
        """Whether what the function returns is false where no row was found, and true or a row where one was."""
        place = _Place(-1, frozenset(), frozenset(), live=True, test=-1)
        for _ in range(2):  # names may be bound from names
            for node in _nodes(self.view.info.node, ast.stmt):
                place = self._bound(node, place)
            place = place._replace(live=True)
        told = [self._tells(statement, place) for statement in self.view.info.returns]
        return None not in told and True in told

    def _tells(self, statement: ast.Return, place: _Place) -> bool | None:
        """True when the statement gives a row or says that there is one, False when it says nothing, None when it says
        the reverse.
        """
        match statement.value:
            case None | ast.Constant(value=None | False):
                return None if self._said_around(statement, place) is False else False
            case ast.Constant(value=True):
                return True if self._said_around(statement, place) is False else None
            case ast.IfExp(test=test, orelse=ast.Constant(value=None | False)):
                return True if self._absent_when(test, place) is False else None
            case value:
                return True if self._absent_when(value, place) is False else None

    def _said_around(self, statement: ast.Return, place: _Place) -> bool | None:
        """What the innermost `if` around the statement has found: True that there is no row, False that there is."""
        inner: ast.AST = statement
        for outer in self.view.around(statement):
            if isinstance(outer, ast.If):
                said = self._absent_when(outer.test, place)
                return said if said is None or inner in outer.body else not said
            inner = outer
        return None

    def _following(self, place: _Place) -> Iterator[_Place]:
        step = self.steps[place.step]
        if step.kind is StepKind.CALL and isinstance(step.node, ast.Call) and self._replaces(step.node):
            place = place._replace(live=False)
        if step.kind is StepKind.BIND and step.node is not None:
            place = self._bound(step.node, place)
        absent = self._absent_when(step.node, place) if step.kind is StepKind.TEST else None
        for edge in step.succ:
            if absent is None or edge.kind not in (EdgeKind.TRUE, EdgeKind.FALSE):
                yield place._replace(step=edge.target)
            elif absent is (edge.kind is EdgeKind.TRUE):
                yield place._replace(step=edge.target, test=step.index)

    def _replaces(self, call: ast.Call) -> bool:
        """Whether another statement is sent on the cursor, whose rows those of the SELECT then no longer are."""
        if not self.select.cursor or not isinstance(call.func, ast.Attribute):
            return False
        same = ast.unparse(call.func.value) == self.select.cursor
        return same and call is not self.select.call and call.func.attr.startswith("execute")

    def _bound(self, node: ast.AST, place: _Place) -> _Place:
        """The place behind a binding."""
        match node:
            case ast.Assign(targets=targets, value=value):
                pass
            case (
                ast.AnnAssign(target=ast.expr() as target, value=ast.expr() as value)
                | ast.NamedExpr(target=ast.expr() as target, value=value)
                | ast.For(target=target, iter=value)
                | ast.AsyncFor(target=target, iter=value)
            ):
                targets = [target]
            case ast.withitem(context_expr=value, optional_vars=ast.expr() as target):
                targets = [target]
            case _:
                return place
        stored = {n.id for target in targets for n in _nodes(target, ast.Name) if isinstance(n.ctx, ast.Store)}
        names, cursors = place.names - stored, place.cursors - stored
        if not self._holds(value, place) or isinstance(value, ast.BinOp):
            # The difference of two sets, or a sum, tells nothing of the row.
            return place._replace(names=names, cursors=cursors)
        if self.gives_cursor and awaited(value) is self.select.call:
            return place._replace(names=names, cursors=cursors | stored)
        return place._replace(names=names | stored, cursors=cursors)

    def _holds(self, node: ast.AST, place: _Place) -> bool:
        """Whether the expression holds something of what was read."""
        return any(self._is_read(part, place) for part in ast.walk(node))

    def _is_read(self, part: ast.AST, place: _Place) -> bool:
        if part is self.select.call or (isinstance(part, ast.Name) and part.id in place.names | place.cursors):
            return True
        is_name = isinstance(part, ast.Name | ast.Attribute)
        return is_name and place.live and self.select.cursor != "" and ast.unparse(part) == self.select.cursor

    def _absent_when(self, node: ast.AST | None, place: _Place) -> bool | None:
        """The truth of the test that says there is no row; None when it says nothing."""
        match node:
            case ast.Compare(left=left, ops=[operator], comparators=[right]):
                if self._gives(left, place):
                    return says_none(operator, right)
                if isinstance(operator, ast.In | ast.NotIn) and self._gives(right, place):
                    return isinstance(operator, ast.NotIn)
                return None
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = self._absent_when(operand, place)
                return None if inner is None else not inner
            case ast.expr():
                return False if self._gives(node, place) else None
        return None

    def _gives(self, node: ast.expr, place: _Place) -> bool:
        """Whether the expression is what was read, a row or a value of it, or how many there are."""
        if node is self.select.call:
            return not self.gives_cursor
        match node:
            case ast.Await(value=value) | ast.NamedExpr(value=value) | ast.Subscript(value=value):
                return self._gives(value, place)
            case ast.Call(func=ast.Attribute(value=value, attr=name)) if name in _ROWS:
                return self._is_read(value, place) or self._gives(value, place)
            case ast.Call(func=ast.Name(id=name), args=[first, *_]) if name in _WHOLE:
                return self._gives(first, place)
            case ast.Attribute(value=value, attr=name):
                return self._gives(value, place) or (name == "rowcount" and self._is_read(value, place))
            case ast.Name(id=name):
                return name in place.names
        return False


def says_none(operator: ast.cmpop, right: ast.expr) -> bool | None:
    """The truth of `rows <operator> right` that says there is none."""
    match operator, right:
        case ((ast.Is() | ast.Eq()), ast.Constant(value=None | 0 | False)):
            return True
        case ((ast.IsNot() | ast.NotEq()), ast.Constant(value=None | 0 | False)):
            return False
        case ((ast.Is() | ast.Eq()), ast.Constant(value=True)):
            return False
        case (ast.Gt(), ast.Constant(value=0)) | (ast.GtE() | ast.Eq(), ast.Constant(value=1)):
            return False
        case (ast.Lt(), ast.Constant(value=1)) | (ast.LtE(), ast.Constant(value=0)):
            return True
        case ((ast.Eq() | ast.NotEq()), ast.List(elts=[]) | ast.Tuple(elts=[])):
            return isinstance(operator, ast.Eq)
    return None


def _nodes(node: ast.AST, kind: type[_Node]) -> Iterable[_Node]:
    return (part for part in ast.walk(node) if isinstance(part, kind))


def looked_up_by(view: FunctionView, call: ast.Call, facts: CallFacts) -> Sent | None:
    """The SELECT of a project function that sends nothing else and whose answer is false where no row was found."""
    if len(facts.targets) != 1:
        return None
    helper = FunctionView(view.module, facts.targets[0].info)
    sent = [one for inner, told in helper.calls() if (one := sent_by(helper, inner, told)) is not None]
    select = sent[0] if len(sent) == 1 else None
    if select is None or helper.info.yields or not _Walk(helper, select, {}).answers():
        return None
    return replace(select, call=call, cursor="", confidence=select.confidence.at_most(Confidence.MEDIUM))
