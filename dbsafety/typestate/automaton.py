"""The typestate automaton of one connection: what each operation does to its transaction, read off the driver's table.

Sources: facts B1-B5, B7, B13 (PostgreSQL) and C3, C5, C6, C8 (SQLite).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from dbsafety.drivers.spec import DriverSpec, Effect
from dbsafety.facts.sql import UNKNOWN, Statement, Verb
from dbsafety.typestate.values import Mode


class Tx(Enum):
    """The state of a connection's transaction."""

    __hash__ = object.__hash__

    UNBOUND = "unbound"
    """The name holds no connection (yet)."""
    CLOSED = "closed"
    IDLE = "idle"
    OPEN = "open"
    FAILED = "failed"
    """A statement failed: aborted (PostgreSQL), or open with the lock of the failed write (SQLite)."""


class State(NamedTuple):
    """State of one connection at one point.

    `auto`: outside an explicit transaction every statement commits by itself. `dirty`: an earlier write of the same
    transaction waits for the commit. `by`: the CFG step of the handler that caught the failure (-1 nobody yet, -2 a
    called function's, -3 one of the caller's); `left`: that handler has been left without an exception.
    """

    tx: Tx
    auto: bool = False
    dirty: bool = False
    by: int = -1
    left: bool = False


class Raised(Enum):
    """What is in flight on an exceptional edge."""

    __hash__ = object.__hash__

    DB = "db"
    """An error of the driver."""
    OTHER = "other"
    """Any other exception below `Exception`."""
    BASE = "base"
    """KeyboardInterrupt, SystemExit, GeneratorExit, CancelledError."""


class Seen(Enum):
    """What an operation on a failed connection reveals."""

    __hash__ = object.__hash__

    STATEMENT = "statement"
    """A statement was sent in the failed state."""
    COMMIT = "commit"
    """The failed transaction was committed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where an operation may lead: states after success, (kind, state) after failure, and what it reveals."""

    normal: tuple[State, ...]
    raised: tuple[tuple[Raised, State], ...] = ()
    seen: Seen | None = None


def idle(mode: Mode) -> State:
    """The state of a connection just opened; an unknown mode is taken for autocommit, which is the quiet one."""
    return State(Tx.IDLE, auto=mode is not Mode.TRANSACTION)


def perform(spec: DriverSpec, effect: Effect, state: State, statement: Statement = UNKNOWN) -> Outcome:
    """The outcome of a method or function with this effect on a connection in `state`."""
    if state.tx is Tx.UNBOUND:
        return Outcome((), ((Raised.OTHER, state),))
    if state.tx is Tx.CLOSED:
        return _on_closed(effect, state)
    match effect:
        case Effect.EXECUTE:
            return _execute(spec, state, statement)
        case Effect.SCRIPT:
            return _script(spec, state, statement)
        case Effect.COMMIT:
            return _commit(spec, state)
        case Effect.ROLLBACK | Effect.ASK:
            return _ALIKE[effect](state)
        case Effect.CLOSE | Effect.RELEASE:
            return Outcome((State(Tx.CLOSED, state.auto),))
        case Effect.BEGIN:
            return Outcome((_open(state),), ((Raised.DB, state),))
        case Effect.FETCH | Effect.MAKE:
            return Outcome((state,), ((Raised.DB, state),))
    return Outcome((state,))


def _on_closed(effect: Effect, state: State) -> Outcome:
    if effect in (Effect.CLOSE, Effect.RELEASE, Effect.NEUTRAL, Effect.AUTOCOMMIT):
        return Outcome((state,))
    return Outcome((state,), ((Raised.DB, state),))


def _open(state: State) -> State:
    return state._replace(tx=Tx.OPEN) if state.tx is Tx.IDLE else state


def _execute(spec: DriverSpec, state: State, statement: Statement) -> Outcome:
    verb = statement.verb
    if verb is Verb.ROLLBACK:
        return _rollback(state)
    if verb is Verb.ROLLBACK_TO:
        gone = State(Tx.CLOSED, state.auto)
        return Outcome((state._replace(tx=Tx.OPEN, by=-1, left=False),), ((Raised.DB, gone),))
    if verb is Verb.COMMIT:
        return _commit(spec, state)
    if verb is Verb.BEGIN and state.tx is Tx.IDLE:
        return Outcome((_open(state),), ((Raised.DB, state),))
    return _aborting(state, verb) if spec.aborts else _locking(spec, state, statement)


def _ask(state: State) -> Outcome:
    """A SELECT of the library's making, in a failed transaction refused like any other."""
    if state.tx is Tx.FAILED:
        return Outcome((), ((Raised.DB, state),), Seen.STATEMENT)
    after = state if state.auto else _open(state)
    return Outcome((after,), ((Raised.DB, after),))


def _script(spec: DriverSpec, state: State, statement: Statement) -> Outcome:
    """What is pending is committed first; each statement is then final at once, also when a later one fails, unless the
    text begins a transaction and does not end it (C8a).
    """
    outcome = _commit(spec, state)
    ended = tuple(_open(after) if statement.verb is Verb.BEGIN else after for after in outcome.normal)
    return Outcome(ended, tuple((Raised.DB, after) for after in ended), outcome.seen)


def _aborting(state: State, verb: Verb) -> Outcome:
    """PostgreSQL: any failed statement aborts; in an aborted transaction every statement fails (B1a)."""
    if state.tx is Tx.FAILED:
        return Outcome((), ((Raised.DB, state),), Seen.STATEMENT)
    if state.auto and state.tx is Tx.IDLE:
        return Outcome((state,), ((Raised.DB, state),))
    done = state._replace(tx=Tx.OPEN, dirty=state.dirty or verb is Verb.WRITE)
    return Outcome((done,), ((Raised.DB, state._replace(tx=Tx.FAILED, by=-1, left=False)),))


def _locking(spec: DriverSpec, state: State, statement: Statement) -> Outcome:
    """SQLite: a write opens the transaction, also when it fails (C3b, C5a); other statements leave it alone."""
    if not spec.keeps_lock:
        return Outcome((state,), ((Raised.DB, state),))
    if not statement.writes or statement.cte:
        return Outcome((state,), ((Raised.DB, state),))
    if state.auto and state.tx is Tx.IDLE:
        return Outcome((state,), ((Raised.DB, state),))
    if state.tx is Tx.FAILED:
        # What the handler itself writes instead did not come before the failure: stored, it is whole.
        after = state._replace(dirty=state.dirty or state.left)
        return Outcome((after,), ((Raised.DB, state),), Seen.STATEMENT)
    done = state._replace(tx=Tx.OPEN, dirty=True)
    return Outcome((done,), ((Raised.DB, state._replace(tx=Tx.FAILED, by=-1, left=False)),))


def _commit(spec: DriverSpec, state: State) -> Outcome:
    """A failed transaction is thrown away (B2) or stored in part (C5a); a failing commit has rolled back on PostgreSQL
    (B1d), leaves a session waiting for a rollback (B10a) and leaves the transaction open on SQLite (C5c).
    """
    ended = State(Tx.IDLE, state.auto)
    seen = None
    if state.tx is Tx.FAILED and (spec.aborts or state.dirty):
        seen = Seen.COMMIT
    failing = ended if spec.aborts else state
    if spec.commit_fails_open and not (state.auto and state.tx is Tx.IDLE):
        failing = state if state.tx is Tx.FAILED else state._replace(tx=Tx.FAILED, by=-1, left=False)
    return Outcome((ended,), ((Raised.DB, failing),), seen)


def _rollback(state: State) -> Outcome:
    """A rollback that fails, as a method or as text, means that the connection is gone (B3c)."""
    return Outcome((State(Tx.IDLE, state.auto),), ((Raised.DB, State(Tx.CLOSED, state.auto)),))


def leave(spec: DriverSpec, effect: Effect, state: State, *, closes: bool) -> Outcome:
    """The outcome of leaving a `with` block whose exit does `effect`; it never swallows.

    Where a failed commit leaves the transaction open, the block rolls it back: a session's, and sqlite3's on Python
    3.10 and later (observed on 3.10 to 3.13, for a deferred foreign key and for a file that is locked).
    """
    if state.tx in (Tx.UNBOUND, Tx.CLOSED):
        return Outcome((state,))
    outcome = Outcome((state,))
    if effect is not Effect.NEUTRAL:
        outcome = perform(spec, effect, state)
        if effect is Effect.COMMIT and (spec.commit_fails_open or spec.keeps_lock):
            ended = tuple((kind, State(Tx.IDLE, after.auto)) for kind, after in outcome.raised)
            outcome = Outcome(outcome.normal, ended, outcome.seen)
    if not closes:
        return outcome
    return Outcome((State(Tx.CLOSED, state.auto),), _closed(outcome.raised), outcome.seen)


def _closed(raised: Iterable[tuple[Raised, State]]) -> tuple[tuple[Raised, State], ...]:
    return tuple((kind, state._replace(tx=Tx.CLOSED)) for kind, state in raised)


_ALIKE = {Effect.ROLLBACK: _rollback, Effect.ASK: _ask}
"""What does the same with every driver."""
