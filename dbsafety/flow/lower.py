"""Expressions as steps in evaluation order; `and`, `or`, `not`, ternaries, comprehensions and walrus branch."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import ClassVar

from dbsafety.flow.emit import Emitter, Frontier
from dbsafety.flow.graph import EdgeKind, StepKind

TRUE, FALSE = EdgeKind.TRUE, EdgeKind.FALSE


class Lowering(Emitter):
    """Adds the steps of expressions.

    What may raise: calls, await, yield, attribute and subscript loads, operators, unpacking. What may not: a plain
    name, a constant, an f-string by itself, an attribute store (an error there would come from a setter; drivers that
    have setters are described by their table). The attribute that is called is part of the call.
    """

    def expr(self, node: ast.expr) -> None:
        """Add the steps that evaluate `node`."""
        kind = type(node)
        if kind is ast.Name or kind is ast.Constant:
            return
        add = self._expressions.get(kind)
        if add is None:
            self._unknown(node)
        else:
            add(self, node)

    def exprs(self, nodes: Sequence[ast.expr]) -> None:
        """Add the steps that evaluate `nodes` one after the other."""
        for node in nodes:
            self.expr(node)

    def test(self, node: ast.expr) -> tuple[Frontier, Frontier]:
        """Add the steps of a condition; the frontiers where it is true and where it is false, the own one is empty.

        A constant leaves one of them empty, as in `while True`.
        """
        if not self.frontier:
            return [], []
        match node:
            case ast.BoolOp():
                return self._test_operands(node)
            case ast.UnaryOp(op=ast.Not()):
                true, false = self.test(node.operand)
                return false, true
            case ast.IfExp():
                return self._test_ternary(node)
            case ast.Constant():
                self.flush()
                here, self.frontier = self.frontier, []
                return (here, []) if node.value else ([], here)
        self.expr(node)
        step = self.emit(StepKind.TEST, node)
        self.frontier = []
        return [(step, TRUE)], [(step, FALSE)]

    def _test_operands(self, node: ast.BoolOp) -> tuple[Frontier, Frontier]:
        conjunction = isinstance(node.op, ast.And)
        decided: Frontier = []
        for value in node.values:
            true, false = self.test(value)
            self.frontier, done = (true, false) if conjunction else (false, true)
            decided += done
        here, self.frontier = self.frontier, []
        return (here, decided) if conjunction else (decided, here)

    def _test_ternary(self, node: ast.IfExp) -> tuple[Frontier, Frontier]:
        true, false = self.test(node.test)
        self.frontier = true
        then = self.test(node.body)
        self.frontier = false
        other = self.test(node.orelse)
        self.frontier = []
        return then[0] + other[0], then[1] + other[1]

    def target(self, node: ast.expr, unpacks: bool = True) -> None:
        """Add the steps of storing to `node`, the binding left out; `unpacks` is False where the shapes agree."""
        match node:
            case ast.Attribute():
                self.expr(node.value)
            case ast.Subscript():
                self._subscript(node)
            case ast.Tuple() | ast.List():
                if unpacks:
                    self.pending = node
                for item in node.elts:
                    self.target(item)
            case ast.Starred():
                self.target(node.value)
            case _:
                pass

    def _call(self, node: ast.Call) -> None:
        function = node.func
        while type(function) is ast.Attribute:
            function = function.value
        self.expr(function)
        for argument in node.args:
            self.expr(argument)
        for keyword in node.keywords:
            self.expr(keyword.value)
        self.emit_raising(StepKind.CALL, node)

    def _await(self, node: ast.Await) -> None:
        self.expr(node.value)
        self.emit_raising(StepKind.AWAIT, node)

    def _yield(self, node: ast.Yield | ast.YieldFrom) -> None:
        if node.value is not None:
            self.expr(node.value)
        self.emit_raising(StepKind.YIELD, node)
        self.is_generator = True

    def _attribute(self, node: ast.Attribute) -> None:
        base: ast.expr = node
        while type(base) is ast.Attribute:
            base = base.value
        self.expr(base)
        self.pending = node

    def _subscript(self, node: ast.Subscript) -> None:
        self.expr(node.value)
        self.expr(node.slice)
        self.pending = node

    def _slice(self, node: ast.Slice) -> None:
        for part in (node.lower, node.upper, node.step):
            if part is not None:
                self.expr(part)

    def _starred(self, node: ast.Starred) -> None:
        self.expr(node.value)
        self.pending = node

    def _operation(self, node: ast.BinOp) -> None:
        """Long sums lean to the left, thousands of terms deep: no recursion on that side."""
        right: list[ast.expr] = []
        left: ast.expr = node
        while type(left) is ast.BinOp:
            right.append(left.right)
            left = left.left
        self.expr(left)
        self.exprs(right[::-1])
        self.pending = node

    def _unary(self, node: ast.UnaryOp) -> None:
        self.expr(node.operand)
        if not isinstance(node.op, ast.Not) and not isinstance(node.operand, ast.Constant):
            self.pending = node

    def _compare(self, node: ast.Compare) -> None:
        self.expr(node.left)
        skipped: Frontier = []
        for position, (op, comparator) in enumerate(zip(node.ops, node.comparators, strict=True)):
            if position and not _is_plain(comparator):
                skipped += [(self.emit_raising(StepKind.OP, node), EdgeKind.FLOW)]
            self.expr(comparator)
            if not isinstance(op, ast.Is | ast.IsNot):
                self.pending = node
        if skipped:
            self.flush()
            self.frontier += skipped

    def _choice(self, node: ast.BoolOp) -> None:
        if all(map(_is_plain, node.values[1:])):
            self.exprs(node.values)
            return
        conjunction = isinstance(node.op, ast.And)
        decided: Frontier = []
        for value in node.values[:-1]:
            true, false = self.test(value)
            self.frontier, done = (true, false) if conjunction else (false, true)
            decided += done
        if self.frontier:
            self.expr(node.values[-1])
            self.flush()
        self.frontier += decided

    def _ternary(self, node: ast.IfExp) -> None:
        if _is_plain(node.body) and _is_plain(node.orelse):
            self.exprs((node.test, node.body, node.orelse))
            return
        true, false = self.test(node.test)
        ends: Frontier = []
        for frontier, value in ((true, node.body), (false, node.orelse)):
            self.frontier = frontier
            if frontier:
                self.expr(value)
                self.flush()
                ends += self.frontier
        self.frontier = ends

    def _walrus(self, node: ast.NamedExpr) -> None:
        self.expr(node.value)
        self.emit(StepKind.BIND, node)

    def _lambda(self, node: ast.Lambda) -> None:
        self.defaults(node.args)

    def defaults(self, arguments: ast.arguments) -> None:
        """Add the steps of the default values, which are evaluated where the function is defined."""
        self.exprs(arguments.defaults)
        self.exprs([value for value in arguments.kw_defaults if value is not None])

    def _items(self, node: ast.List | ast.Tuple | ast.Set) -> None:
        for item in node.elts:
            self.expr(item)

    def _dict(self, node: ast.Dict) -> None:
        for key, value in zip(node.keys, node.values, strict=True):
            if key is not None:
                self.expr(key)
            self.expr(value)

    def _text(self, node: ast.JoinedStr) -> None:
        self.exprs(node.values)

    def _formatted(self, node: ast.FormattedValue) -> None:
        self.expr(node.value)
        if node.format_spec is not None:
            self.expr(node.format_spec)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> None:
        self._turns(node.generators, (node.elt,))

    def _dict_comprehension(self, node: ast.DictComp) -> None:
        self._turns(node.generators, (node.key, node.value))

    def _turns(self, generators: Sequence[ast.comprehension], elements: Sequence[ast.expr]) -> None:
        """Nested loops; a generator expression counts as run where it is made."""
        heads = []
        for generator in generators:
            self.expr(generator.iter)
            line = generator.target.lineno
            head = self.emit_raising(StepKind.FOR, generator, line)
            heads.append(head)
            self.frontier = [(head, TRUE)]
            self.target(generator.target)
            self.emit(StepKind.BIND, generator, line)
            for condition in generator.ifs:
                true, self.frontier = self.test(condition)
                self.link_back(head)
                self.frontier = true
            if not self.frontier:
                break
        else:
            self.exprs(elements)
            self.flush()
        while heads:
            self.link_back(heads[-1])
            self.frontier = [(heads.pop(), FALSE)]

    def _unknown(self, node: ast.expr) -> None:
        """A kind of expression younger than this code: its parts in order, then it may raise."""
        self.exprs([child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)])
        self.pending = node

    _expressions: ClassVar[dict[type[ast.AST], Callable[..., None]]] = {
        ast.Attribute: _attribute,
        ast.Await: _await,
        ast.BinOp: _operation,
        ast.BoolOp: _choice,
        ast.Call: _call,
        ast.Compare: _compare,
        ast.Dict: _dict,
        ast.DictComp: _dict_comprehension,
        ast.FormattedValue: _formatted,
        ast.GeneratorExp: _comprehension,
        ast.IfExp: _ternary,
        ast.JoinedStr: _text,
        ast.Lambda: _lambda,
        ast.List: _items,
        ast.ListComp: _comprehension,
        ast.NamedExpr: _walrus,
        ast.Set: _items,
        ast.SetComp: _comprehension,
        ast.Slice: _slice,
        ast.Starred: _starred,
        ast.Subscript: _subscript,
        ast.Tuple: _items,
        ast.UnaryOp: _unary,
        ast.Yield: _yield,
        ast.YieldFrom: _yield,
    }


def _is_plain(node: ast.expr) -> bool:
    """Whether evaluating `node` is neither a step that matters nor a branch: names, constants, attributes of names."""
    while type(node) is ast.Attribute:
        node = node.value
    return type(node) is ast.Name or type(node) is ast.Constant
