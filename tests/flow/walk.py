"""What a control flow graph says about the same probes: its paths, with the exception in flight and those set aside."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from dbsafety.flow.build import build_cfg
from dbsafety.flow.graph import Cfg, Edge, EdgeKind, Step, StepKind, Why
from tests.flow.oracle import OUTCOMES, Triple

SUPPRESSING = {"suppress", "swallow", "swallowing", "stack"}
FAMILY = {"E1": "Exception", "E2": "Exception", "AssertionError": "Exception", "group": "Exception"}
ANY = "any"
"""The rest of an exception group: a handler may take it or not."""


class State(NamedTuple):
    """Before `step`, with `last` the latest probe and its outcome."""

    step: int
    flying: str
    saved: tuple[tuple[int, str], ...]
    last: tuple[str, str]


def can_suppress(manager: ast.expr) -> bool:
    return called(manager) in SUPPRESSING


def called(node: ast.AST | None) -> str:
    return node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""


def numbers(node: ast.AST | None) -> list[str]:
    return [str(a.value) for a in node.args if isinstance(a, ast.Constant)] if isinstance(node, ast.Call) else []


def probe_of(step: Step) -> str:
    """The number of the probe that `step` is, or ""."""
    match step.kind, step.node:
        case StepKind.CALL, ast.Call() as call if called(call) == "p":
            return numbers(call)[0]
        case StepKind.AWAIT, ast.Await(value=call) if called(call) == "ap":
            return numbers(call)[0]
        case StepKind.YIELD, ast.Yield(value=ast.Constant(value=number)):
            return str(number)
        case StepKind.FOR, (ast.For() | ast.AsyncFor() | ast.comprehension()) as loop if "turns" in called(loop.iter):
            return numbers(loop.iter)[0]
        case StepKind.WITH_ENTER, ast.withitem(context_expr=call) if numbers(call):
            return numbers(call)[0]
        case StepKind.WITH_EXIT, ast.withitem(context_expr=call) if len(numbers(call)) == 2:
            return numbers(call)[1]
    return ""


def takes(handler: ast.ExceptHandler, flying: str) -> bool | None:
    """Whether `handler` takes the exception; None for maybe."""
    if handler.type is None:
        return True
    names = {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)}
    if "BaseException" in names:
        return True
    return None if flying == ANY else bool(names & {flying, FAMILY.get(flying, "")})


class Walk:
    """All states that can be reached; only probes and `raise` raise."""

    def __init__(self, cfg: Cfg, outcomes: tuple[str, ...] = OUTCOMES) -> None:
        self.cfg = cfg
        self.outcomes = outcomes
        self.triples: set[Triple] = set()
        todo = [State(cfg.entry, "", (), ("entry", ""))]
        seen = set(todo)
        while todo:
            for state in self.next_states(todo.pop()):
                if state not in seen:
                    seen.add(state)
                    todo.append(state)
        self.reached = {state.step for state in seen}

    def arrive(self, state: State, target: int, **changes: object) -> State:
        """Go to `target`, where exceptions set aside by what does not enclose it are forgotten."""
        after = state._replace(step=target, **changes)
        enclosing = self.cfg.steps[target].saved
        return after._replace(saved=tuple(item for item in after.saved if item[0] in enclosing))

    def next_states(self, state: State) -> Iterator[State]:
        step = self.cfg.steps[state.step]
        if step.kind in (StepKind.RETURN_END, StepKind.RAISE_END):
            self.triples.add((*state.last, "return" if step.kind is StepKind.RETURN_END else "raise"))
        elif probe := probe_of(step):
            self.triples.add((*state.last, probe))
            for outcome in self.outcomes:
                yield from self.outcome(step, state._replace(last=(probe, outcome)), outcome)
        else:
            yield from self.silent(step, state)

    def outcome(self, step: Step, state: State, outcome: str) -> Iterator[State]:
        assert step.exc is not None
        if outcome not in ("true", "false"):
            yield self.arrive(state, step.exc, flying=outcome)
            return
        if step.kind is StepKind.WITH_EXIT:
            yield from self.exit(step, state, outcome == "true")
            return
        for edge in step.succ:
            if step.kind is not StepKind.FOR or edge.kind.value == outcome:
                yield self.arrive(state, edge.target)

    def exit(self, step: Step, state: State, agreed: bool) -> Iterator[State]:
        """The exit has not failed: if there is an exception it goes on unless the manager agreed to suppress it."""
        suppressed = [edge for edge in step.succ if edge.kind is EdgeKind.SUPPRESSED]
        if step.why is not Why.RAISE:
            for edge in step.succ:
                yield self.arrive(state, edge.target)
        elif agreed and suppressed:
            yield self.arrive(state, suppressed[0].target, flying="")
        else:
            yield self.arrive(state, step.exc or 0)

    def silent(self, step: Step, state: State) -> Iterator[State]:
        """A step that is no probe."""
        match step.kind:
            case StepKind.HANDLER | StepKind.FINALLY if state.flying:
                saved = (*state.saved, (step.index, state.flying))
                yield self.arrive(state, step.succ[0].target, saved=saved, flying="")
            case StepKind.RAISE:
                yield self.arrive(state, step.exc or 0, flying=self.raised(step.node, state))
            case StepKind.RESUME if step.why is Why.RAISE:
                yield self.arrive(state, step.exc or 0, flying=state.saved[-1][1])
            case StepKind.WITH_EXIT if step.why is Why.RAISE and can_suppress_e1(step.node):
                suppressed = state.flying == "E1"
                target = step.succ[0].target if suppressed else step.exc or 0
                yield self.arrive(state, target, flying="" if suppressed else state.flying)
            case StepKind.DISPATCH:
                for edge in self.dispatched(step, state.flying):
                    yield self.arrive(
                        state, edge.target, flying="" if edge.kind is EdgeKind.FLOW else state.flying or ANY
                    )
            case _:
                for edge in step.succ:
                    if self.decided(step, state, edge):
                        yield self.arrive(state, edge.target)

    def raised(self, node: ast.AST | None, state: State) -> str:
        match node:
            case ast.Assert():
                return "AssertionError"
            case ast.Raise(exc=ast.Call(func=ast.Name(id=name))):
                return name
        return state.saved[-1][1]

    def dispatched(self, step: Step, flying: str) -> Iterator[Edge]:
        """The feasible edges; an `except*` may leave a rest, and only its first dispatch knows what is in flight."""
        handlers: list[ast.ExceptHandler] = getattr(step.node, "handlers", [])
        if not isinstance(step.node, ast.Try) and (flying == "group" or step.succ[0].label != 0):
            flying = ANY
        for edge in step.succ:
            answer = None if edge.label is None else takes(handlers[edge.label], flying)
            if answer is not False:
                yield edge
            if answer is True and flying != ANY:
                return

    def decided(self, step: Step, state: State, edge: Edge) -> bool:
        """Whether the latest probe was the test itself and came out the other way."""
        node = step.node.value if isinstance(step.node, ast.NamedExpr) else step.node
        match step.kind, node:
            case StepKind.TEST, ast.Call() if called(node) == "p":
                mine = numbers(node) == [state.last[0]]
            case StepKind.TEST, ast.Await(value=call):
                mine = numbers(call) == [state.last[0]]
            case StepKind.TEST, ast.Yield(value=ast.Constant(value=number)):
                mine = str(number) == state.last[0]
            case _:
                mine = False
        return not mine or edge.kind.value == state.last[1]


def can_suppress_e1(item: ast.AST | None) -> bool:
    """`suppress` and the generator manager of the constructs are no probes and suppress E1 alone."""
    return isinstance(item, ast.withitem) and called(item.context_expr) in ("suppress", "swallowing")


def graph(source: str) -> Cfg:
    """The graph of the first function in `source`."""
    function = ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
    return build_cfg(function, can_suppress)
