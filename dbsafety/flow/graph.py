"""The control flow graph of one function: a node per step, with one exceptional target per step that may raise."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.Module


class StepKind(Enum):
    """What a step does; `Step.node` is named in brackets. "Raises" means that `Step.exc` is set."""

    ENTRY = "entry"
    """Where the function begins [the function]."""
    RETURN_END = "return end"
    """Where it ends without an exception [the function]; `line` is the last line of the function."""
    RAISE_END = "raise end"
    """Where it ends with one [the function]."""
    CALL = "call"
    """[ast.Call] The arguments have been evaluated; raises."""
    AWAIT = "await"
    """[ast.Await] The operand has been evaluated; raises."""
    YIELD = "yield"
    """[ast.Yield, ast.YieldFrom] Raises: `throw`, GeneratorExit, the body of a `@contextmanager`."""
    OP = "op"
    """[expression or statement] Attribute, subscript, operator, unpacking, import, `del`; raises.

    A run of them is one step, and none at all where a step that raises from the same state follows at once.
    """
    BIND = "bind"
    """A name gets its value; never raises, for what may raise is an OP before it.

    [Assign, AnnAssign, AugAssign, NamedExpr; For, AsyncFor, comprehension, withitem, match_case for their targets;
    Import, ImportFrom, FunctionDef, AsyncFunctionDef, ClassDef, TypeAlias; ExceptHandler for `as name`.]
    `arg` is the ast.ClassDef when the name is bound in a class body, the With when the node is a withitem. The target
    of a comprehension is a name of its own scope.
    """
    UNBIND = "unbind"
    """[Delete; ExceptHandler for the implied `del name` where the handler ends]"""
    TEST = "test"
    """[the expression, without `and`, `or`, `not`] Edges TRUE and FALSE, or one of them."""
    CASE = "case"
    """[match_case] Edges TRUE and FALSE; raises, except for a pattern that matches anything."""
    FOR = "for"
    """[For, AsyncFor, comprehension] Asks for the next item: TRUE takes a turn, FALSE is exhausted; raises."""
    JOIN = "join"
    """[While] Where a turn of a `while` loop begins."""
    WITH_ENTER = "with enter"
    """[withitem, `arg` is its With or AsyncWith] Raises to what stands around the `with`."""
    WITH_EXIT = "with exit"
    """[withitem, `arg` as above] One step per `why`.

    Raises to what stands around the `with`: for RAISE the exception in flight goes on (or `__exit__` fails), and the
    SUPPRESSED edge, there only if the manager can suppress, leads behind the `with`.
    """
    TRY = "try"
    """[Try, TryStar] Before the body. Raises only when nothing in the body does but a name that may be unknown."""
    DISPATCH = "dispatch"
    """[Try, TryStar] Which handler takes the exception in flight: MATCH edges in order, then NOMATCH.

    NOMATCH is absent after a bare `except:`. For `except*` there is one dispatch per handler and history, with one
    MATCH; the exception in flight there is the rest of the group, also when the step is reached from a HANDLER_END.
    After the last handler stands a dispatch without MATCH: NOMATCH, and FLOW if it may be that nothing is left.
    """
    HANDLER = "handler"
    """[ExceptHandler] The exception in flight is caught; it stays the saved one until the handler is left."""
    HANDLER_END = "handler end"
    """[ExceptHandler] The handler is left without an exception; one step per `why`."""
    RAISE = "raise"
    """[Raise, or Assert when it fails] `exc` is the only way out; a bare `raise` has `node.exc` None."""
    RETURN = "return"
    """[Return, or the Lambda] Its value has been evaluated."""
    FINALLY = "finally"
    """[Try, TryStar] Begin of the copy of a `finally` body for `why`."""
    RESUME = "resume"
    """[Try, TryStar] End of such a copy. For RAISE the exception saved at FINALLY goes on through `exc`; no FALL."""


class EdgeKind(Enum):
    """Why control goes from one step to the next without an exception."""

    FLOW = "flow"
    BACK = "back"
    """To the begin of a loop; an edge with a meaning of its own (TRUE, FALSE) keeps it."""
    TRUE = "true"
    FALSE = "false"
    MATCH = "match"
    NOMATCH = "nomatch"
    SUPPRESSED = "suppressed"


class Why(Enum):
    """On which way out a copy of a `finally` body, a with-exit or a handler end lies."""

    FALL = "fall"
    RAISE = "raise"
    RETURN = "return"
    BREAK = "break"
    CONTINUE = "continue"


@dataclass(frozen=True, slots=True)
class Edge:
    """A normal successor; `label` is the index of the handler for MATCH."""

    kind: EdgeKind
    target: int
    label: int | None = None


@dataclass(slots=True, eq=False)
class Step:
    """One thing the code does, in evaluation order.

    `exc` is the step an exception raised here leads to: a dispatch, a finally copy, a with-exit or the raise end.
    `line` is 1-based. `handlers` are the HANDLER steps whose body holds this step, innermost last. `saved` are the
    same together with the FINALLY steps of kind RAISE whose copy holds it: the places where an exception was set aside
    that a bare `raise` or a RESUME brings back. A step whose `saved` lacks one of them lies outside it, so whoever
    gets there has dropped that exception. `tries` are the try statements whose body, not handler, else or finally,
    holds the step, innermost last.
    """

    index: int
    kind: StepKind
    node: ast.AST | None
    line: int
    succ: list[Edge] = field(default_factory=list)
    exc: int | None = None
    why: Why | None = None
    arg: ast.AST | None = None
    handlers: tuple[int, ...] = ()
    saved: tuple[int, ...] = ()
    tries: tuple[ast.Try, ...] = ()


@dataclass(slots=True, eq=False)
class Cfg:
    """The graph of `function`: indices into `steps`, which holds reachable steps only, the two ends excepted.

    `truncated` says that the function was too large or too deep; the graph then is entry and ends alone and nothing
    may be concluded from it.
    """

    steps: list[Step]
    entry: int
    return_end: int
    raise_end: int
    function: FunctionNode
    is_generator: bool = False
    is_async: bool = False
    truncated: bool = False
