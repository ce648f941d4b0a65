"""Whether a variable that holds a handle is bound, None or unbound where a handler uses it."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from dbsafety.drivers.spec import DriverSpec, Effect, HandleKind
from dbsafety.facts.scopes import BindKind
from dbsafety.flow.graph import EdgeKind, Step, StepKind, Why
from dbsafety.typestate.automaton import Raised
from dbsafety.typestate.catch import Match, clause_matches
from dbsafety.typestate.values import Handle, handles
from dbsafety.views.view import FunctionView


class Bound(Enum):
    """What the variable holds."""

    UNBOUND = "unbound"
    NONE = "none"
    BOUND = "bound"


@dataclass(frozen=True, slots=True)
class Use:
    """A use of the variable in a handler or `finally` that may find it unbound, or None.

    `opening` is the assignment in the `try` body that should have bound it.
    """

    name: str
    node: ast.Name
    state: Bound
    attempt: ast.Try
    opening: ast.stmt
    handle: Handle


_KINDS = (HandleKind.CONNECTION, HandleKind.CURSOR)


def unsafe_uses(view: FunctionView) -> Iterator[Use]:
    """The first such use of each variable in each handler or `finally`, in source order."""
    found: list[Use] = []
    for name, bindings in view.scope.bindings.items():
        if name in view.scope.outer_names or not bindings or view.info.node is view.module.index.tree:
            continue
        own = [b for b in bindings if b.kind in (BindKind.VALUE, BindKind.WITH) and not _is_none(b.value)]
        if not own or any(b.kind is BindKind.PARAMETER for b in bindings):
            continue
        values = view.resolver.evaluate(own[0].value, view.scope)
        if own[0].kind is BindKind.WITH:
            values = view.resolver.entered(values)
        held = [h for h in handles(values) if h.kind in _KINDS]
        opening = own[0].node
        if not held or not isinstance(opening, ast.stmt):
            continue
        others = [_attempts_of(view, b.node) for b in own[1:]]
        around = _attempts_of(view, opening)
        for place, attempt in enumerate(around):
            if all(attempt in other for other in others):
                walk = _Walk(view, name, held[0], around[:place])
                found.extend(_uses(walk, attempt, opening, held[0]))
    yield from sorted(found, key=lambda use: (use.node.lineno, use.node.col_offset))


def is_local(view: FunctionView, node: ast.expr | None) -> bool:
    """Whether the call is a method of a handle that succeeds whatever the database does (`cursor()` of sqlite3)."""
    func = node.func if isinstance(node, ast.Call) else None
    if not isinstance(func, ast.Attribute):
        return False
    held = handles(view.resolver.evaluate(func.value, view.scope))
    rows = [view.spec(h).handles[h.kind].methods.get(func.attr) for h in held if h.kind in view.spec(h).handles]
    return bool(rows) and all(row is not None and row.local for row in rows)


def _only_reports(call: ast.Call) -> bool:
    """Whether the call prints or logs something."""
    match call.func:
        case ast.Name(id="print"):
            return True
        case ast.Attribute(value=value, attr="debug" | "info" | "warning" | "error" | "exception" | "critical"):
            return "log" in ast.unparse(value).lower()
    return False


def is_tested(view: FunctionView, use: Use) -> bool:
    """Whether the use stands under a test of the connection whose method, one that succeeds, binds the variable."""
    value = use.opening.value if isinstance(use.opening, (ast.Assign, ast.AnnAssign)) else None
    func = value.func if isinstance(value, ast.Call) else None
    if not is_local(view, value) or not isinstance(func, ast.Attribute) or not isinstance(func.value, ast.Name):
        return False
    tests = (outer.test for outer in view.around(use.node) if isinstance(outer, ast.If))
    return any(isinstance(n, ast.Name) and n.id == func.value.id for test in tests for n in ast.walk(test))


def _attempts_of(view: FunctionView, node: ast.AST) -> list[ast.Try]:
    """The `try` statements whose bodies hold the node, innermost first."""
    found: list[ast.Try] = []
    inner = node
    for outer in view.around(node):
        if isinstance(outer, ast.Try) and inner in outer.body:
            found.append(outer)
        inner = outer
    return found


def _uses(walk: _Walk, attempt: ast.Try, opening: ast.stmt, held: Handle) -> Iterator[Use]:
    regions = [*(handler.body for handler in attempt.handlers), attempt.finalbody]
    inside = {id(n): i for i, region in enumerate(regions) for part in region for n in ast.walk(part)}
    seen: set[tuple[int, Bound]] = set()
    for step, state in walk.reach():
        for node in _loads(step, walk.name):
            region = inside.get(id(node))
            if region is None or (region, state) in seen or state is Bound.BOUND:
                continue
            if state is Bound.NONE and not _dereferences(walk.view, node):
                continue
            seen.add((region, state))
            if (region, Bound.UNBOUND) in seen and state is Bound.NONE:
                continue
            yield Use(walk.name, node, state, attempt, opening, held)


def _loads(step: Step, name: str) -> list[ast.Name]:
    if step.node is None or step.kind not in (StepKind.CALL, StepKind.TEST, StepKind.OP, StepKind.RETURN):
        return []
    return [n for n in ast.walk(step.node) if isinstance(n, ast.Name) and n.id == name and isinstance(n.ctx, ast.Load)]


def _dereferences(view: FunctionView, node: ast.Name) -> bool:
    return isinstance(view.parents.get(id(node)), ast.Attribute)


def _is_none(node: ast.expr | None) -> bool:
    return node is None or (isinstance(node, ast.Constant) and node.value is None)


class _Walk:
    """Reachability over (step, what the variable holds, exception in flight).

    `inner`: the `try` statements between the opening and the one in question. They are taken to end every error of the
    driver they are written for, `except OperationalError` around `connect()` for example.
    """

    def __init__(self, view: FunctionView, name: str, held: Handle, inner: Sequence[ast.Try]) -> None:
        self.view = view
        self.name = name
        self.spec: DriverSpec = view.spec(held)
        self.steps = view.cfg.steps
        self.inner = inner

    def reach(self) -> Iterator[tuple[Step, Bound]]:
        start = (self.view.cfg.entry, Bound.UNBOUND, None)
        seen: set[tuple[int, Bound, Raised | None]] = {start}
        queue: deque[tuple[int, Bound, Raised | None]] = deque([start])
        while queue:
            index, state, flight = queue.popleft()
            yield self.steps[index], state
            for target in self._next(self.steps[index], state, flight):
                if target not in seen:
                    seen.add(target)
                    queue.append(target)

    def _next(self, step: Step, state: Bound, flight: Raised | None) -> Iterator[tuple[int, Bound, Raised | None]]:
        if step.kind is StepKind.DISPATCH and flight is not None:
            yield from self._dispatch(step, state, flight)
            return
        after = self._bind(step, state)
        for edge in step.succ:
            if self._feasible(step, edge.kind, state):
                yield edge.target, after, None
        if step.exc is None:
            return
        going_on = step.kind in (StepKind.WITH_EXIT, StepKind.RESUME) and step.why is Why.RAISE
        for kind in (flight or Raised.OTHER,) if going_on else self._raises(step):
            yield step.exc, state, kind

    def _raises(self, step: Step) -> tuple[Raised, ...]:
        """What the step raises: plain operations and reports succeed, calls and explicit raises do not."""
        if step.kind is StepKind.RAISE:
            return (Raised.OTHER,)
        if step.kind is not StepKind.CALL or not isinstance(step.node, ast.Call):
            return ()
        if is_local(self.view, step.node) or _only_reports(step.node):
            return ()
        facts = self.view.frame.call(step.node)
        if any(op.opens for op in facts.ops) and not facts.targets:
            return (Raised.DB,)
        sends = any(op.effect is not Effect.NEUTRAL for op in facts.ops)
        return (Raised.DB, Raised.OTHER) if sends or facts.targets else (Raised.OTHER,)

    def _dispatch(self, step: Step, state: Bound, flight: Raised) -> Iterator[tuple[int, Bound, Raised | None]]:
        for edge in step.succ:
            if edge.kind is not EdgeKind.MATCH:
                continue
            handler = self.steps[edge.target].node
            clause = handler.type if isinstance(handler, ast.ExceptHandler) else None
            match = clause_matches(self.view.resolver, clause, self.view.scope, self.spec, flight)
            caught = match is Match.SURE or (match is Match.MAYBE and flight is Raised.DB)
            if caught:
                yield edge.target, state, None
            if match is Match.SURE or (caught and step.node in self.inner):
                return
        for edge in step.succ:
            if edge.kind is EdgeKind.NOMATCH:
                yield edge.target, state, flight

    def _bind(self, step: Step, state: Bound) -> Bound:
        node = step.node
        if step.kind is StepKind.UNBIND and isinstance(node, ast.Delete):
            return Bound.UNBOUND if any(isinstance(t, ast.Name) and t.id == self.name for t in node.targets) else state
        if step.kind is not StepKind.BIND or node is None or not self._stores(node):
            return state
        value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr)) else node
        return Bound.NONE if isinstance(value, ast.Constant) and value.value is None else Bound.BOUND

    def _stores(self, node: ast.AST) -> bool:
        targets: list[ast.AST] = []
        match node:
            case ast.Assign():
                targets = list(node.targets)
            case ast.AnnAssign() | ast.AugAssign() | ast.NamedExpr() | ast.For() | ast.AsyncFor():
                targets = [node.target]
            case ast.withitem(optional_vars=ast.expr() as target):
                targets = [target]
        names = (n for target in targets for n in ast.walk(target) if isinstance(n, ast.Name))
        return any(n.id == self.name for n in names)

    def _feasible(self, step: Step, kind: EdgeKind, state: Bound) -> bool:
        """Whether the outcome of a test on the variable fits what it holds; an unbound one raises instead."""
        if step.kind is not StepKind.TEST or kind not in (EdgeKind.TRUE, EdgeKind.FALSE):
            return True
        wanted = kind is EdgeKind.TRUE
        match step.node:
            case ast.Name(id=name) if name == self.name:
                return state is not Bound.UNBOUND and (state is Bound.BOUND) is wanted
            case ast.Compare(left=ast.Name(id=name), ops=[operator], comparators=[ast.Constant(value=None)]):
                if name != self.name:
                    return True
                is_none = isinstance(operator, (ast.Is, ast.Eq))
                return state is not Bound.UNBOUND and ((state is Bound.NONE) is is_none) is wanted
            case ast.Compare(left=ast.Constant(value=self.name), ops=[operator]):
                present = isinstance(operator, ast.In)
                return ((state is not Bound.UNBOUND) is present) is wanted
        return True
