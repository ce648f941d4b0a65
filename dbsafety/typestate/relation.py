"""State relations: how a function maps the state of one connection on entry to its ways out (engine summaries)."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, Protocol, TypeAlias

from dbsafety.facts.scopes import FunctionInfo
from dbsafety.typestate.automaton import Raised, State
from dbsafety.typestate.values import Handle, Key, Mode


class Exit(Enum):
    """A way out of a function, or something seen inside it."""

    __hash__ = object.__hash__

    NORMAL = "normal"
    YIELD = "yield"
    DB = "db"
    OTHER = "other"
    BASE = "base"
    SEEN_STATEMENT = "seen statement"
    SEEN_COMMIT = "seen commit"
    TRUE = "true"
    """Returned a value that is certainly true (an `__exit__` that swallows)."""


EXIT_OF = {Raised.DB: Exit.DB, Raised.OTHER: Exit.OTHER, Raised.BASE: Exit.BASE}
RAISED_OF = {Exit.DB: Raised.DB, Exit.OTHER: Raised.OTHER, Exit.BASE: Raised.BASE}


class Start(Enum):
    """Where a run of a function begins."""

    __hash__ = object.__hash__

    ENTRY = "entry"
    RESUME = "resume"
    """After its yield, normally."""
    THROW_DB = "throw db"
    """At its yield, with an exception of that kind thrown in."""
    THROW_OTHER = "throw other"
    THROW_BASE = "throw base"
    EXIT_OK = "exit ok"
    """`__exit__` with its exception arguments None."""
    EXIT_RAISED = "exit raised"
    """`__exit__` with an exception."""


THROW = {Raised.DB: Start.THROW_DB, Raised.OTHER: Start.THROW_OTHER, Raised.BASE: Start.THROW_BASE}

Relation: TypeAlias = frozenset[tuple[Exit, State]]


class Subject(NamedTuple):
    """The connection that a run follows; `handle` names its driver.

    `flags` are the parameters of the function that are known to be true or false in this run.
    """

    key: Key
    handle: Handle
    flags: tuple[tuple[str, bool], ...] = ()


Question: TypeAlias = tuple[int, Key, str, Mode, tuple[tuple[str, bool], ...], Start, State]
"""What a relation answers: identity of the function, key, driver, mode, flags, where the run begins, in which state."""


class Relations(Protocol):
    """What a search asks about called functions."""

    def relation(self, function: FunctionInfo, subject: Subject, start: Start, state: State) -> Relation:
        """The ways out of `function` for the connection when it starts in `state`; empty when a budget was hit."""

    def touched(self, function: FunctionInfo) -> dict[Key, Handle]:
        """The connections that the function, or anything it calls, works on."""

    def is_vast(self, function: FunctionInfo) -> bool:
        """Whether the function calls so many others that it is not known which connections they all work on."""

    def returns(self, function: FunctionInfo) -> bool:
        """Whether the function can end without an exception at all."""
