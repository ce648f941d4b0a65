"""Statements as steps, and the control flow graph of one function, lambda or module."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import ClassVar

from dbsafety.flow.emit import Frontier, LoopFrame, TooLarge
from dbsafety.flow.graph import Cfg, EdgeKind, FunctionNode, Step, StepKind, Why
from dbsafety.flow.protect import Protection

TRUE, FALSE = EdgeKind.TRUE, EdgeKind.FALSE
BUDGET = 20_000
"""Steps of one function; the largest of 9,153 functions in eight public projects has 506."""


def suppresses_nothing(_: ast.expr) -> bool:
    """The answer to "can this context manager suppress an exception?" for one that nothing is known about: no."""
    return False


def build_cfg(
    function: FunctionNode, can_suppress: Callable[[ast.expr], bool] = suppresses_nothing, budget: int = BUDGET
) -> Cfg:
    """The control flow graph of `function`.

    `can_suppress` is asked for the expression of each `with` item. A function of more than `budget` steps, or nested
    too deep to be walked, gives a graph marked `truncated` that has no steps but its entry and ends.
    """
    builder = Builder(function, can_suppress, budget)
    truncated = False
    try:
        builder.function_body()
    except (TooLarge, RecursionError):
        builder = Builder(function, can_suppress, budget)
        truncated = True
    return Cfg(
        builder.steps,
        0,
        builder.return_end.index,
        builder.raise_end.index,
        function,
        builder.is_generator,
        isinstance(function, ast.AsyncFunctionDef),
        truncated,
    )


class Builder(Protection):
    """Adds the steps of statements."""

    def function_body(self) -> None:
        """Add the whole body; what falls off its end has returned."""
        function = self.function
        if isinstance(function, ast.Lambda):
            self.expr(function.body)
            self.emit(StepKind.RETURN, function)
        else:
            self.block(function.body)
        self.link(self.return_end)

    def block(self, body: Sequence[ast.stmt]) -> None:
        """Add `body`; statements behind the last that can be reached are dropped."""
        for position, statement in enumerate(body):
            if not self.frontier:
                self.dropped(body[position:])
                return
            add = self._statements.get(type(statement))
            if add is not None:
                add(self, statement)
            if self.pending is not None:
                self.flush()

    def dropped(self, body: Sequence[ast.stmt]) -> None:
        """Take notice of the `yield` that makes the function a generator even where it is never reached."""
        todo: list[ast.AST] = list(body)
        while todo and not self.is_generator:
            node = todo.pop()
            self.is_generator = isinstance(node, ast.Yield | ast.YieldFrom)
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                todo.extend(ast.iter_child_nodes(node))

    def _expression(self, node: ast.Expr) -> None:
        self.expr(node.value)
        if isinstance(node.value, ast.Name):
            self.pending = node.value

    def _assign(self, node: ast.Assign) -> None:
        self.expr(node.value)
        unpacks = not isinstance(node.value, ast.Tuple | ast.List)
        for target in node.targets:
            if type(target) is not ast.Name:
                self.target(target, unpacks)
        self._bind(node)

    def _annotated(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.expr(node.value)
            self.target(node.target)
            self._bind(node)

    def _augmented(self, node: ast.AugAssign) -> None:
        self.target(node.target)
        self.expr(node.value)
        self.pending = node
        self._bind(node)

    def _bind(self, node: ast.AST) -> None:
        self.emit(StepKind.BIND, node).arg = self.context.owner

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        self.pending = node
        self._bind(node)

    def _delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            self.target(target, unpacks=False)
            if not isinstance(target, ast.Name):
                self.pending = target
        self.emit(StepKind.UNBIND, node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.exprs(node.decorator_list)
        self.defaults(node.args)
        if node.decorator_list:
            self.pending = node
        self._bind(node)

    def _class(self, node: ast.ClassDef) -> None:
        self.exprs(node.decorator_list)
        self.exprs(node.bases)
        self.exprs([keyword.value for keyword in node.keywords])
        self.flush()
        around = self.context
        self.context = around._replace(owner=node)
        self.block(node.body)
        self.context = around
        if self.frontier:
            self.pending = node if node.decorator_list or node.bases else None
            self._bind(node)

    def _return(self, node: ast.Return) -> None:
        if node.value is not None:
            self.expr(node.value)
        self.emit(StepKind.RETURN, node)
        self.leave(Why.RETURN)

    def _raise(self, node: ast.Raise) -> None:
        for part in (node.exc, node.cause):
            if part is not None:
                self.expr(part)
        self.emit_raising(StepKind.RAISE, node)
        self.frontier = []

    def _assert(self, node: ast.Assert) -> None:
        holds, self.frontier = self.test(node.test)
        if self.frontier:
            if node.msg is not None:
                self.expr(node.msg)
            self.emit_raising(StepKind.RAISE, node)
        self.frontier = holds

    def _break(self, _: ast.Break) -> None:
        self.leave(Why.BREAK)

    def _continue(self, _: ast.Continue) -> None:
        self.leave(Why.CONTINUE)

    def _if(self, node: ast.If) -> None:
        """A chain of `elif` is deep in the tree but flat here."""
        ends: Frontier = []
        while True:
            true, false = self.test(node.test)
            self.frontier = true
            self.block(node.body)
            ends += self.frontier
            self.frontier = false
            match node.orelse:
                case [ast.If() as node] if false:
                    continue
            self.block(node.orelse)
            self.frontier = ends + self.frontier
            return

    def _while(self, node: ast.While) -> None:
        head = self.emit(StepKind.JOIN, node)
        true, false = self.test(node.test)
        self.frontier = true
        self._loop(head, node, false)

    def _for(self, node: ast.For | ast.AsyncFor) -> None:
        self.expr(node.iter)
        head = self.emit_raising(StepKind.FOR, node)
        self.frontier = [(head, TRUE)]
        self.target(node.target)
        self._bind(node)
        self._loop(head, node, [(head, FALSE)])

    def _loop(self, head: Step, node: ast.While | ast.For | ast.AsyncFor, done: Frontier) -> None:
        loop = LoopFrame(self.context, head)
        self.push(loop)
        self.block(node.body)
        self.link_back(head)
        self.pop()
        self.frontier = done
        self.block(node.orelse)
        self.frontier = self.frontier + loop.breaks

    def _match(self, node: ast.Match) -> None:
        self.expr(node.subject)
        ends: Frontier = []
        for case in node.cases:
            if not self.frontier:
                self.dropped(case.body)
                continue
            self.frontier, otherwise = self._case(case)
            self.block(case.body)
            ends += self.frontier
            self.frontier = otherwise
        self.frontier = ends + self.frontier

    def _case(self, case: ast.match_case) -> tuple[Frontier, Frontier]:
        """Add pattern and guard; the frontiers where the case is taken and where it is not."""
        line = case.pattern.lineno
        if _matches_anything(case.pattern):
            otherwise: Frontier = []
            step = self.emit(StepKind.CASE, case, line)
        else:
            step = self.emit_raising(StepKind.CASE, case, line)
            otherwise = [(step, FALSE)]
        self.frontier = [(step, TRUE)]
        if _captures(case.pattern):
            self.emit(StepKind.BIND, case, line).arg = self.context.owner
        if case.guard is None:
            return self.frontier, otherwise
        taken, refused = self.test(case.guard)
        return taken, otherwise + refused

    _statements: ClassVar[dict[type[ast.AST], Callable[..., None]]] = {
        ast.AnnAssign: _annotated,
        ast.Assert: _assert,
        ast.Assign: _assign,
        ast.AsyncFor: _for,
        ast.AsyncFunctionDef: _function,
        ast.AsyncWith: Protection.with_statement,
        ast.AugAssign: _augmented,
        ast.Break: _break,
        ast.ClassDef: _class,
        ast.Continue: _continue,
        ast.Delete: _delete,
        ast.Expr: _expression,
        ast.For: _for,
        ast.FunctionDef: _function,
        ast.If: _if,
        ast.Import: _import,
        ast.ImportFrom: _import,
        ast.Match: _match,
        ast.Raise: _raise,
        ast.Return: _return,
        ast.Try: Protection.try_statement,
        ast.While: _while,
        ast.With: Protection.with_statement,
    }
    """Statements without a row (`pass`, `global`, `nonlocal`) do nothing."""
    for _name, _add in (("TryStar", Protection.try_statement), ("TypeAlias", _bind)):
        if _node := getattr(ast, _name, None):  # 3.11 and 3.12 brought them
            _statements[_node] = _add


def _matches_anything(pattern: ast.pattern) -> bool:
    match pattern:
        case ast.MatchAs(pattern=None):
            return True
        case ast.MatchAs(pattern=inner) if inner is not None:
            return _matches_anything(inner)
        case ast.MatchOr(patterns=alternatives):
            return any(map(_matches_anything, alternatives))
    return False


def _captures(pattern: ast.pattern) -> bool:
    return any(
        getattr(node, "name", None) or getattr(node, "rest", None)
        for node in ast.walk(pattern)
        if isinstance(node, ast.MatchAs | ast.MatchStar | ast.MatchMapping)
    )
