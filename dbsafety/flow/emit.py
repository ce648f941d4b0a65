"""The growing graph: steps, the dangling edges of its frontier, and the frames that every way out has to pass."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeAlias

from dbsafety.flow.graph import Edge, EdgeKind, FunctionNode, Step, StepKind, Why

Frontier: TypeAlias = list[tuple[Step, EdgeKind]]
"""Edges that have a source and a kind, and wait for the step they lead to."""

FLOW, BACK, OP = EdgeKind.FLOW, EdgeKind.BACK, StepKind.OP
LOOP_ENDS = (Why.BREAK, Why.CONTINUE)


class TooLarge(Exception):
    """The function has more steps, or deeper nested `finally` bodies, than are worth building."""


class Context(NamedTuple):
    """What encloses the next step: see the fields of Step; `owner` is the class whose body it stands in."""

    handlers: tuple[int, ...] = ()
    saved: tuple[int, ...] = ()
    tries: tuple[ast.Try, ...] = ()
    owner: ast.ClassDef | None = None


class Frame:
    """One construct around the next step; `context` is what stands around the construct itself."""

    __slots__ = ("context", "copies")

    def __init__(self, context: Context) -> None:
        """`copies` remembers per way out the step where it enters this frame."""
        self.context = context
        self.copies: dict[Why, int] = {}

    def catch(self, graph: Emitter, depth: int) -> int | None:
        """The step that takes an exception raised inside, or None to let it pass; the frame stands at `depth`."""

    def leave(self, graph: Emitter, why: Why, depth: int) -> None:
        """Lead the frontier of `graph` through what has to be done on this way out."""


class LoopFrame(Frame):
    """A loop: `head` is where a turn begins, `breaks` collects what leaves it."""

    __slots__ = ("breaks", "head")

    def __init__(self, context: Context, head: Step) -> None:
        """`head` is a FOR or JOIN step."""
        super().__init__(context)
        self.head = head
        self.breaks: Frontier = []


class Emitter:
    """Adds steps at the frontier.

    `pending` is an operation that may raise but has no step yet: the next step stands for it if that one raises from
    the same state, else it becomes an OP.
    """

    def __init__(self, function: FunctionNode, can_suppress: Callable[[ast.expr], bool], budget: int) -> None:
        """Start the graph of `function` with its entry and its two ends."""
        self.function = function
        self.can_suppress = can_suppress
        self.budget = budget
        self.steps: list[Step] = []
        self.stack: list[Frame] = []
        self.context = Context()
        self.pending: ast.AST | None = None
        self.is_generator = False
        self.nested_copies = 0
        self._exc: int | None = None
        entry = self.place(StepKind.ENTRY, function)
        last = function.body[-1] if isinstance(function, ast.Module) and function.body else function
        self.return_end = self.place(StepKind.RETURN_END, function, getattr(last, "end_lineno", 0))
        self.raise_end = self.place(StepKind.RAISE_END, function, self.return_end.line)
        self.frontier: Frontier = [(entry, FLOW)]

    def block(self, body: Sequence[ast.stmt]) -> None:
        """Add the statements of `body` at the frontier."""
        raise NotImplementedError

    def place(self, kind: StepKind, node: ast.AST, line: int = 0, why: Why | None = None) -> Step:
        """A new step that nothing leads to yet; raises TooLarge when the budget is spent."""
        steps, context = self.steps, self.context
        if len(steps) >= self.budget:
            raise TooLarge
        line = line or getattr(node, "lineno", 1)
        index = len(steps)
        step = Step(index, kind, node, line, [], None, why, None, context.handlers, context.saved, context.tries)
        steps.append(step)
        return step

    def emit(self, kind: StepKind, node: ast.AST, line: int = 0, why: Why | None = None) -> Step:
        """A new step that does not raise, reached from the frontier, which it becomes."""
        if self.pending is not None:
            self.flush()
        step = self.place(kind, node, line, why)
        self.link(step)
        self.frontier = [(step, FLOW)]
        return step

    def emit_raising(self, kind: StepKind, node: ast.AST, line: int = 0, why: Why | None = None) -> Step:
        """A new step that may raise, reached from the frontier, which it becomes; a pending operation is part of it."""
        self.pending = None
        exc = self.raise_target()
        step = self.place(kind, node, line, why)
        step.exc = exc
        self.link(step)
        self.frontier = [(step, FLOW)]
        return step

    def flush(self) -> None:
        """Give the pending operation, if any, a step of its own."""
        node = self.pending
        if node is not None:
            self.emit_raising(OP, node)

    def link(self, target: Step) -> None:
        """Let the frontier lead to `target`; the frontier itself stays as it is."""
        index = target.index
        for source, kind in self.frontier:
            source.succ.append(Edge(kind, index))

    def link_back(self, target: Step) -> None:
        """Let the frontier lead to `target`, the begin of a loop, and be empty."""
        for source, kind in self.frontier:
            source.succ.append(Edge(BACK if kind is FLOW else kind, target.index))
        self.frontier = []

    def push(self, frame: Frame) -> None:
        """Stand inside `frame` from now on."""
        self.stack.append(frame)
        self._exc = None

    def pop(self) -> None:
        """Stand outside the innermost frame again, in the context it was made in."""
        self.context = self.stack.pop().context
        self._exc = None

    def raise_target(self) -> int:
        """Where an exception raised here leads to; builds the copies of `finally` bodies on its way."""
        if self._exc is not None:
            return self._exc
        target: int | None = None
        for depth in range(len(self.stack) - 1, -1, -1):
            target = self.stack[depth].catch(self, depth)
            if target is not None:
                break
        self._exc = self.raise_end.index if target is None else target
        return self._exc

    def leave(self, why: Why) -> None:
        """Lead the frontier outwards, through all that has to be done on the way; it is empty afterwards."""
        self.flush()
        stack = self.stack
        for depth in range(len(stack) - 1, -1, -1):
            frame = stack[depth]
            if isinstance(frame, LoopFrame) and why in LOOP_ENDS:
                self._end_turn(frame, why)
                return
            frame.leave(self, why, depth)
            if not self.frontier:
                return
        self.link(self.return_end)
        self.frontier = []

    def _end_turn(self, loop: LoopFrame, why: Why) -> None:
        if why is Why.CONTINUE:
            self.link_back(loop.head)
        else:
            loop.breaks += self.frontier
            self.frontier = []

    def enter_copy(self, deepest: int) -> None:
        """Note that a copy of a `finally` body begins; raises TooLarge for one inside more than `deepest` others."""
        self.nested_copies += 1
        if self.nested_copies > deepest:
            raise TooLarge

    @contextmanager
    def outside(self, frame: Frame, depth: int) -> Iterator[None]:
        """Stand outside `frame`, which is at `depth`, for a while: only what encloses it is in force."""
        kept = (self.stack, self.context, self.pending, self._exc)
        self.stack, self.context, self.pending, self._exc = self.stack[:depth], frame.context, None, None
        try:
            yield
        finally:
            self.stack, self.context, self.pending, self._exc = kept
