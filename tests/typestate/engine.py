"""Runs parts of the engine on small modules."""

from __future__ import annotations

import ast
from textwrap import dedent

from dbsafety.drivers.spec import HandleKind
from dbsafety.facts.program import Program
from dbsafety.facts.scopes import FunctionInfo, ModuleIndex
from dbsafety.typestate.automaton import State, Tx
from dbsafety.typestate.frame import Frames
from dbsafety.typestate.memory import Memory
from dbsafety.typestate.relation import Exit, Start, Subject
from dbsafety.typestate.resolve import Resolver
from dbsafety.typestate.summaries import Summaries
from dbsafety.typestate.values import Handle, Mode, Value, handles

IDLE = State(Tx.IDLE)
OPEN = State(Tx.OPEN)
FAILED = State(Tx.FAILED, by=-3)
"""A transaction that failed under a handler of the caller."""
CLOSED = State(Tx.CLOSED)


class Module:
    """One module of source text, indexed, with a resolver and summaries of its own."""

    def __init__(self, source: str) -> None:
        program = Program()
        self.index: ModuleIndex = program.take(ast.parse(dedent(source)), "m.py")
        memory = Memory(program)
        self.resolver = Resolver(memory)
        self.summaries = Summaries(self.resolver, Frames(memory))

    def function(self, name: str) -> FunctionInfo:
        """The function with this qualified name."""
        return next(info for info in self.index.functions if info.qualname == name)

    def values(self, expression: str, where: str = "") -> frozenset[Value]:
        """What an expression that stands somewhere in the function means."""
        info = self.function(where)
        for node in ast.walk(info.node):
            if isinstance(node, ast.expr) and ast.unparse(node) == expression and _loaded(node):
                return self.resolver.evaluate(node, info.scope)
        raise LookupError(f"{expression} does not stand in {where or 'the module'}")

    def handle(self, expression: str, where: str = "") -> tuple[str, str, str, str] | None:
        """Driver, kind, kind of key and mode of the one handle that the expression may be; None when it is none."""
        found = handles(self.values(expression, where))
        if not found:
            return None
        (one,) = found
        return one.driver, one.kind.value, one.key.kind, one.mode.value

    def connection(self, where: str) -> Subject:
        """The one connection that the function works on."""
        (pair,) = self.summaries.touched(self.function(where)).items()
        key, handle = pair
        return Subject(key, Handle(handle.driver, HandleKind.CONNECTION, key, Mode.TRANSACTION))

    def ways(
        self, where: str, state: State, start: Start = Start.ENTRY, subject: Subject | None = None
    ) -> set[tuple[str, str]]:
        """Where the function leads the connection (its only one if not told): (way out, state of the transaction)."""
        relation = self.summaries.relation(self.function(where), subject or self.connection(where), start, state)
        return {(way.value, after.tx.value) for way, after in relation}

    def normal(self, where: str, state: State, start: Start = Start.ENTRY) -> set[str]:
        """The states in which the function ends normally."""
        return {tx for way, tx in self.ways(where, state, start) if way in (Exit.NORMAL.value, Exit.YIELD.value)}


def _loaded(node: ast.expr) -> bool:
    return isinstance(getattr(node, "ctx", ast.Load()), ast.Load)
