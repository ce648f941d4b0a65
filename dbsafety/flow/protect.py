"""`try`, `except`, `except*`, `else`, `finally` and `with`: where exceptions and early exits have to pass."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product

from dbsafety.flow.emit import FLOW, Context, Emitter, Frame, Frontier
from dbsafety.flow.graph import Edge, EdgeKind, Step, StepKind, Why
from dbsafety.flow.lower import Lowering

MATCH, NOMATCH = EdgeKind.MATCH, EdgeKind.NOMATCH
DEEPEST_COPY = 4
"""Copies of `finally` bodies inside copies; each level multiplies the steps by up to five."""


class TryFrame(Frame):
    """The body of a `try` with handlers; its dispatch is made when something in the body may raise."""

    __slots__ = ("dispatch", "node")

    def __init__(self, context: Context, node: ast.Try) -> None:
        """`node` may be a TryStar, which has the same fields."""
        super().__init__(context)
        self.node = node
        self.dispatch: Step | None = None

    def catch(self, graph: Emitter, depth: int) -> int:
        """The dispatch."""
        if self.dispatch is None:
            with graph.outside(self, depth):
                self.dispatch = graph.place(StepKind.DISPATCH, self.node, self.node.handlers[0].lineno)
        return self.dispatch.index


class HandlerFrame(Frame):
    """The body of a handler: early exits unbind its name and end it; exceptions pass."""

    __slots__ = ("handler", "inner")

    def __init__(self, context: Context, handler: ast.ExceptHandler, step: Step) -> None:
        """`step` is the HANDLER step of `handler`."""
        super().__init__(context)
        self.handler = handler
        self.inner = context._replace(handlers=(*context.handlers, step.index), saved=(*context.saved, step.index))

    def leave(self, graph: Emitter, why: Why, depth: int) -> None:
        """The implied `del name` and HANDLER_END."""
        if why in self.copies:
            graph.link(graph.steps[self.copies[why]])
            graph.frontier = []
            return
        with graph.outside(self, depth):
            graph.context = self.inner
            self.copies[why] = self.end(graph, why).index

    def end(self, graph: Emitter, why: Why) -> Step:
        """Add the end of the handler; its first step."""
        line = self.handler.end_lineno or self.handler.lineno
        first = graph.emit(StepKind.UNBIND, self.handler, line, why) if self.handler.name else None
        last = graph.emit(StepKind.HANDLER_END, self.handler, line, why)
        return first or last


class FinallyFrame(Frame):
    """Body, handlers and else of a `try` with a `finally`: the latter is copied once for each way out."""

    __slots__ = ("node",)

    def __init__(self, context: Context, node: ast.Try) -> None:
        """`node` may be a TryStar, which has the same fields."""
        super().__init__(context)
        self.node = node

    def catch(self, graph: Emitter, depth: int) -> int:
        """The copy that goes on raising."""
        if Why.RAISE not in self.copies:
            kept = graph.frontier
            with graph.outside(self, depth):
                step = graph.place(StepKind.FINALLY, self.node, self.node.finalbody[0].lineno, Why.RAISE)
                self.copies[Why.RAISE] = step.index
                graph.frontier = [(step, FLOW)]
                graph.context = graph.context._replace(saved=(*graph.context.saved, step.index))
                self._body(graph, Why.RAISE)
            graph.frontier = kept
        return self.copies[Why.RAISE]

    def leave(self, graph: Emitter, why: Why, depth: int) -> None:
        """The copy that goes on leaving."""
        if why in self.copies:
            graph.link(graph.steps[self.copies[why]])
            graph.frontier = []
            return
        with graph.outside(self, depth):
            step = graph.emit(StepKind.FINALLY, self.node, self.node.finalbody[0].lineno, why)
            self.copies[why] = step.index
            self._body(graph, why)

    def _body(self, graph: Emitter, why: Why) -> None:
        graph.enter_copy(DEEPEST_COPY)
        graph.block(self.node.finalbody)
        graph.nested_copies -= 1
        if graph.frontier and why is not Why.FALL:
            resume = graph.emit(StepKind.RESUME, self.node, self.node.finalbody[-1].end_lineno or 0, why)
            if why is Why.RAISE:
                resume.exc = graph.raise_target()
                graph.frontier = []


class WithFrame(Frame):
    """The body of a `with` for one item: one exit per way out."""

    __slots__ = ("item", "node", "suppressed")

    def __init__(self, context: Context, node: ast.With | ast.AsyncWith, item: ast.withitem) -> None:
        """`suppressed` is what goes on behind the `with` after a suppressed exception."""
        super().__init__(context)
        self.node = node
        self.item = item
        self.suppressed: Frontier = []

    def catch(self, graph: Emitter, depth: int) -> int:
        """The exit that goes on raising, or suppresses if the manager can."""
        if Why.RAISE not in self.copies:
            with graph.outside(self, depth):
                exc = graph.raise_target()
                step = graph.place(StepKind.WITH_EXIT, self.item, self.item.context_expr.lineno, Why.RAISE)
            step.exc, step.arg = exc, self.node
            self.copies[Why.RAISE] = step.index
            if graph.can_suppress(self.item.context_expr):
                self.suppressed = [(step, EdgeKind.SUPPRESSED)]
        return self.copies[Why.RAISE]

    def leave(self, graph: Emitter, why: Why, depth: int) -> None:
        """The exit that goes on leaving."""
        if why in self.copies:
            graph.link(graph.steps[self.copies[why]])
            graph.frontier = []
            return
        with graph.outside(self, depth):
            step = graph.emit_raising(StepKind.WITH_EXIT, self.item, self.item.context_expr.lineno, why)
            step.arg = self.node
            self.copies[why] = step.index


class StarFrame(Frame):
    """The body of an `except*` handler: what it raises joins the group after the other handlers had their turn."""

    __slots__ = ("after",)

    def __init__(self, context: Context, after: Callable[[], int]) -> None:
        """`after` makes or finds the dispatch that follows a handler which raised."""
        super().__init__(context)
        self.after = after

    def catch(self, graph: Emitter, depth: int) -> int:
        """The next dispatch."""
        with graph.outside(self, depth):
            return self.after()


class Protection(Lowering):
    """Adds the steps of `try` and `with` statements."""

    def dropped(self, body: Sequence[ast.stmt]) -> None:
        """Take notice of statements that cannot be reached: they get no steps."""
        raise NotImplementedError

    def try_statement(self, node: ast.Try) -> None:
        """Add a Try or TryStar."""
        final = FinallyFrame(self.context, node)
        if node.finalbody:
            self.push(final)
        begin = self.emit(StepKind.TRY, node)
        if node.handlers:
            self._try_except(node, begin)
        else:
            self._body(Frame(self.context), node)
        if node.finalbody:
            self.pop()
            if self.frontier:
                final.leave(self, Why.FALL, len(self.stack))
            elif not final.copies:
                self.dropped(node.finalbody)

    def _body(self, frame: Frame, node: ast.Try) -> None:
        self.push(frame)
        self.context = self.context._replace(tries=(*self.context.tries, node))
        self.block(node.body)
        self.pop()

    def _try_except(self, node: ast.Try, begin: Step) -> None:
        frame = TryFrame(self.context, node)
        self._body(frame, node)
        if frame.dispatch is None and _loads_a_name(node.body):
            begin.exc = frame.catch(self, len(self.stack))
        self.block(node.orelse)
        if frame.dispatch is None:
            for handler in node.handlers:
                self.dropped(handler.body)
        elif type(node).__name__ == "TryStar":  # 3.10 has none
            self._star_handlers(node, frame.dispatch)
        else:
            self._handlers(node.handlers, frame.dispatch)

    def _handlers(self, handlers: Sequence[ast.ExceptHandler], dispatch: Step) -> None:
        ends = self.frontier
        for label, handler in enumerate(handlers):
            self._handler(handler, dispatch, label)
            ends += self.frontier
        self.frontier = ends
        if handlers[-1].type is not None:
            dispatch.succ.append(Edge(NOMATCH, self.raise_target()))

    def _handler(self, handler: ast.ExceptHandler, dispatch: Step, label: int) -> None:
        """Add one handler; the frontier is its end."""
        step = self.place(StepKind.HANDLER, handler)
        dispatch.succ.append(Edge(MATCH, step.index, label))
        self.frontier = [(step, FLOW)]
        frame = HandlerFrame(self.context, handler, step)
        self.push(frame)
        self.context = frame.inner
        if handler.name:
            self.emit(StepKind.BIND, handler)
        self.block(handler.body)
        if self.frontier:
            frame.end(self, Why.FALL)
        self.pop()

    def _star_handlers(self, node: ast.Try, first: Step) -> None:
        """A grid of dispatches: handler by history (0 nothing matched yet, 1 something did, 2 a handler raised)."""
        ends, count = self.frontier, len(node.handlers)
        grid = {(0, 0): first}

        def after(position: int, history: int) -> int:
            if position == count and history == 0:
                return self.raise_target()
            if (position, history) not in grid:
                grid[position, history] = self.place(StepKind.DISPATCH, node, first.line)
            return grid[position, history].index

        for position, history in product(range(count), range(3)):
            dispatch = grid.get((position, history))
            if dispatch is None:
                continue
            self.push(StarFrame(self.context, partial(after, position + 1, 2)))
            self._handler(node.handlers[position], dispatch, position)
            self.pop()
            if self.frontier:
                rest = after(position + 1, max(history, 1))
                for source, kind in self.frontier:
                    source.succ.append(Edge(kind, rest))
            dispatch.succ.append(Edge(NOMATCH, after(position + 1, history)))
        self.frontier = ends
        for history in (1, 2):
            last = grid.get((count, history))
            if last is not None:
                last.succ.append(Edge(NOMATCH, self.raise_target()))
                self.frontier += [(last, FLOW)] if history == 1 else []

    def with_statement(self, node: ast.With | ast.AsyncWith) -> None:
        """Add a With or AsyncWith; several items are nested blocks."""
        frames = []
        for item in node.items:
            line = item.context_expr.lineno
            self.expr(item.context_expr)
            self.emit_raising(StepKind.WITH_ENTER, item, line).arg = node
            frames.append(WithFrame(self.context, node, item))
            self.push(frames[-1])
            if item.optional_vars is not None:
                self.target(item.optional_vars)
                self.emit(StepKind.BIND, item, line).arg = node
        self.block(node.body)
        for frame in reversed(frames):
            self.pop()
            if self.frontier:
                frame.leave(self, Why.FALL, len(self.stack))
            self.frontier += frame.suppressed


def _loads_a_name(body: Sequence[ast.stmt]) -> bool:
    """Whether a body without a step that raises may still fail because a name is not known (`try: unicode`)."""
    names = (node for statement in body for node in ast.walk(statement) if isinstance(node, ast.Name))
    return any(isinstance(name.ctx, ast.Load) for name in names)
