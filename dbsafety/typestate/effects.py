"""The transfer function: what one step of a function does to the connection that a run follows."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass

from dbsafety.drivers.spec import DriverSpec, Effect, HandleKind, Switch
from dbsafety.facts.scopes import FunctionInfo
from dbsafety.typestate.allocate import kept_key, told_mode
from dbsafety.typestate.automaton import Outcome, Raised, Seen, State, Tx, idle, leave, perform
from dbsafety.typestate.blocks import Block, BlockKind
from dbsafety.typestate.calls import is_recovering
from dbsafety.typestate.catch import Match, clause_matches
from dbsafety.typestate.frame import Frame
from dbsafety.typestate.ops import CallFacts, Op
from dbsafety.typestate.parameters import argument_for
from dbsafety.typestate.relation import RAISED_OF, THROW, Exit, Relation, Relations, Start, Subject
from dbsafety.typestate.values import Function, Instance, Key, Mode, class_key, handles, param_key


@dataclass(frozen=True, slots=True)
class Transfer:
    """Where a step leads: states on its normal edges, states with an exception, and what it reveals.

    `swallowed` are the states in which a manager has ended the exception in flight.
    """

    normal: tuple[State, ...]
    raised: tuple[tuple[Raised, State], ...] = ()
    seen: tuple[Seen, ...] = ()
    swallowed: tuple[State, ...] = ()


class Effects:
    """Transfer functions of one function for one connection."""

    def __init__(self, frame: Frame, subject: Subject, relations: Relations, spec: DriverSpec) -> None:
        self.frame = frame
        self.subject = subject._replace(flags=())
        self.key = subject.key
        self.relations = relations
        self.spec = spec

    def call(self, node: ast.Call, state: State) -> Transfer:
        """A call: the operations on this connection, else the called function's relation, else nothing known."""
        facts = self.frame.call(node)
        if facts.exits:
            return Transfer((), ((Raised.BASE, state),))
        if facts.aborts:
            return Transfer(())
        targets = self._through(node, facts, state) if facts.targets else None
        states: tuple[State, ...] = (state,) if targets is None else targets.normal
        raised: list[tuple[Raised, State]] = list(targets.raised) if targets is not None else []
        seen: list[Seen] = list(targets.seen) if targets is not None else []
        mine = [op for op in facts.ops if op.key == self.key and op.handle.driver == self.spec.name]
        for op in mine:
            outcomes = [self._operate(op, current) for current in states]
            raised.extend(pair for outcome in outcomes for pair in outcome.raised)
            seen.extend(outcome.seen for outcome in outcomes if outcome.seen is not None)
            after = [new for outcome in outcomes for new in outcome.normal]
            states = tuple(dict.fromkeys((*after, *_untouched(op, states))))
        if not mine and targets is None:
            if state.tx is Tx.FAILED and self._may_repair(node, facts):
                return Transfer((), ((Raised.OTHER, State(Tx.CLOSED)),))
            raised.extend(_other(state))
        if facts.may_switch and self.key in facts.passed:
            states = tuple(dict.fromkeys(switched(after, Mode.UNKNOWN) for after in states))
        return Transfer(states, tuple(dict.fromkeys(raised)), tuple(dict.fromkeys(seen)))

    def _operate(self, op: Op, state: State) -> Outcome:
        if op.opens:
            told = op.mode if self.subject.handle.mode is not Mode.UNKNOWN else None
            return Outcome((idle(told or Mode.UNKNOWN),), ((Raised.DB, state), (Raised.OTHER, state)))
        if op.effect is Effect.AUTOCOMMIT and op.mode is not None:
            return Outcome((switched(state, op.mode),))
        if op.effect is Effect.UNKNOWN and state.tx is Tx.FAILED:
            return Outcome(())
        outcome = perform(self.spec, op.effect, state, op.statement)
        if op.effect in (Effect.EXECUTE, Effect.SCRIPT):
            return Outcome(outcome.normal, (*outcome.raised, *_other(state)), outcome.seen)
        return outcome

    def _may_repair(self, node: ast.Call, facts: CallFacts) -> bool:
        """Whether an unknown callee may end the failed transaction: it gets the connection, or its name says so."""
        if not facts.unknown:
            return False
        if self.key in facts.passed or facts.may_end:
            return True
        if self.key.kind != "attr":
            return False
        if facts.owner is not None and facts.owner.key == self.key.owner:
            return True
        arguments = (*node.args, *(keyword.value for keyword in node.keywords))
        values = (v for a in arguments for v in self.frame.resolver.evaluate(a, self.frame.scope))
        return any(isinstance(v, Instance) and v.info.key == self.key.owner for v in values)

    def _through(self, node: ast.Call, facts: CallFacts, state: State) -> Transfer | None:
        """The union of the relations of the functions the call may run; None when none of them touches the subject."""
        found: set[tuple[Exit, State]] = set()
        related = False
        for target in facts.targets:
            keys = self._keys_inside(node, target)
            if not keys and state.tx is Tx.FAILED and facts.may_end and self.relations.is_vast(target.info):
                related = True  # what it ends, as its name says, may be this one
                continue
            if not keys:
                if self.relations.returns(target.info):
                    found.add((Exit.NORMAL, state))
                    found.update((Exit.OTHER, new) for _, new in _other(state))
                else:
                    found.add((Exit.OTHER, state))
                related = related or not self.relations.returns(target.info)
                continue
            related = True
            for key in keys:
                inner = Subject(key, self.subject.handle.moved(key))
                relation = self.relations.relation(target.info, inner, Start.ENTRY, _entering(state))
                found |= _recovered(relation) if is_recovering(self.frame.resolver, target.info) else relation
        return self._told(found, state) if related else None

    def _keys_inside(self, node: ast.Call, target: Function) -> list[Key]:
        """The keys under which the called function knows the connection."""
        touched = self.relations.touched(target.info)
        found = [self.key] if self.key in touched else []
        facts = self.frame.call(node)
        if self.key in facts.passed:
            for argument in target.info.parameters:
                value = argument_for(node, target.info, argument.arg)
                if value is None:
                    continue
                keys = {h.key for h in handles(self.frame.resolver.evaluate(value, self.frame.scope))}
                inner = param_key(target.info, argument.arg)
                if self.key in keys and inner in touched:
                    found.append(inner)
        return found

    def _told(self, relation: Iterable[tuple[Exit, State]], before: State) -> Transfer:
        normal: list[State] = []
        raised: list[tuple[Raised, State]] = []
        seen: list[Seen] = []
        for way, state in sorted(relation, key=lambda pair: (pair[0].value, str(pair[1]))):
            told = _leaving(state, before)
            if way in (Exit.NORMAL, Exit.YIELD, Exit.TRUE):
                normal.append(told)
            elif way in RAISED_OF:
                raised.append((RAISED_OF[way], told))
            elif before.tx is Tx.FAILED:
                seen.append(Seen.STATEMENT if way is Exit.SEEN_STATEMENT else Seen.COMMIT)
        return Transfer(tuple(normal), tuple(raised), tuple(seen))

    def bind(self, node: ast.AST, state: State) -> State:
        """An assignment: dropping the connection (`conn = None`) or switching its mode."""
        if not isinstance(node, ast.Assign):
            return state
        for target in node.targets:
            match target, node.value:
                case (ast.Name(id=name), ast.Constant(value=None)):
                    if self._is_variable(name):
                        return State(Tx.UNBOUND)
                case (ast.Name(id=name), value) if self._rebinds(name, value):
                    return State(Tx.UNBOUND)
                case (ast.Attribute(value=base, attr=name), ast.Constant(value=None)) if self._is_attribute(base, name):
                    return State(Tx.UNBOUND)
                case (ast.Attribute(value=base, attr=name), value):
                    state = self._switch(base, name, value, state)
        return state

    def _rebinds(self, name: str, value: ast.expr) -> bool:
        """Whether the variable that held the connection now holds another one."""
        if not self._is_variable(name):
            return False
        found = handles(self.frame.resolver.evaluate(value, self.frame.scope))
        return bool(found) and all(handle.key != self.key for handle in found)

    def _is_variable(self, name: str) -> bool:
        owner = self.frame.scope.find(name)
        return owner is not None and kept_key(self.frame.resolver, owner, name) == self.key

    def _is_attribute(self, base: ast.expr, name: str) -> bool:
        if self.key.kind != "attr" or self.key.name != name:
            return False
        values = self.frame.resolver.evaluate(base, self.frame.scope)
        return any(isinstance(v, Instance) and class_key(v.info, name) == self.key for v in values) or (
            isinstance(base, ast.Name) and base.id == self.frame.info.self_name
        )

    def _switch(self, base: ast.expr, name: str, value: ast.expr, state: State) -> State:
        for switch in self.spec.autocommit:
            if switch.by is not Switch.ATTRIBUTE or switch.name != name:
                continue
            found = handles(self.frame.resolver.evaluate(base, self.frame.scope))
            if any(h.key == self.key and h.kind is HandleKind.CONNECTION for h in found):
                mode = told_mode(self.frame.resolver, value, self.frame.scope, self.spec, switch)
                return switched(state, mode or Mode.UNKNOWN)
        return state

    def enter(self, item: ast.withitem, state: State) -> Transfer:
        """Entering a `with` item."""
        states: tuple[State, ...] = (state,)
        raised: list[tuple[Raised, State]] = [*_other(state)]
        seen: list[Seen] = []
        for block in self.frame.blocks(item):
            steps = [self._enter_block(block, current) for current in states]
            raised.extend(pair for step in steps for pair in step.raised)
            seen.extend(kind for step in steps for kind in step.seen)
            states = tuple(dict.fromkeys(new for step in steps for new in step.normal))
        return Transfer(states, tuple(dict.fromkeys(raised)), tuple(seen))

    def _enter_block(self, block: Block, state: State) -> Transfer:
        if block.kind is BlockKind.HANDLE and self.key in block.keys and block.with_spec is not None:
            if block.with_spec.begins and state.tx is Tx.IDLE:
                return Transfer((state._replace(tx=Tx.OPEN),))
            return Transfer((state,))
        function = block.enter if block.kind is BlockKind.CLASS else block.function
        if function is None or block.kind not in (BlockKind.GENERATOR, BlockKind.CLASS):
            return Transfer((state,))
        relation = self._inside(block, function, Start.ENTRY, state)
        if relation is None:
            return Transfer((state,))
        wanted = Exit.YIELD if block.kind is BlockKind.GENERATOR else Exit.NORMAL
        kept = {pair for pair in relation if pair[0] is wanted or pair[0] not in (Exit.NORMAL, Exit.YIELD, Exit.TRUE)}
        return self._told(kept, state)

    def _inside(self, block: Block, function: FunctionInfo, start: Start, state: State) -> Relation | None:
        inner = dict(block.inner).get(self.key)
        touched = self.relations.touched(function)
        if inner is not None:
            entering = State(Tx.UNBOUND) if start is Start.ENTRY and inner.kind != "param" else _entering(state)
            subject = Subject(inner, self.subject.handle.moved(inner), block.flags)
            return self.relations.relation(function, subject, start, entering)
        if self.key not in touched:
            return None
        return self.relations.relation(function, self.subject._replace(flags=block.flags), start, _entering(state))

    def leave(self, item: ast.withitem, state: State, flight: Raised | None) -> Transfer:
        """Leaving a `with` item, normally (`flight` None) or with an exception in flight."""
        current: list[tuple[Raised | None, State]] = [(flight, state)]
        seen: list[Seen] = []
        for block in reversed(self.frame.blocks(item)):
            following: list[tuple[Raised | None, State]] = []
            for kind, before in current:
                step = self._leave_block(block, before, kind)
                seen.extend(step.seen)
                if kind is None:
                    following.extend((None, new) for new in step.normal)
                following.extend((raised, new) for raised, new in step.raised)
                following.extend((None, new) for new in step.swallowed)
            current = list(dict.fromkeys(following))
        ended = tuple(new for kind, new in current if kind is None)
        raised = tuple((kind, new) for kind, new in current if kind is not None)
        if flight is None:
            return Transfer(ended, raised, tuple(dict.fromkeys(seen)))
        return Transfer((), raised, tuple(dict.fromkeys(seen)), swallowed=ended)

    def _leave_block(self, block: Block, state: State, flight: Raised | None) -> Transfer:
        match block.kind:
            case BlockKind.HANDLE if self.key in block.keys and block.with_spec is not None:
                return self._leave_handle(block, state, flight)
            case BlockKind.CLOSING if self.key in block.keys:
                closed = State(Tx.CLOSED, state.auto)
                return Transfer((closed,)) if flight is None else Transfer((), ((flight, closed),))
            case BlockKind.SUPPRESS if flight is not None:
                return self._suppress(block, state, flight)
            case BlockKind.GENERATOR | BlockKind.CLASS if block.function is not None:
                return self._leave_function(block, block.function, state, flight)
        return Transfer((state,)) if flight is None else Transfer((), ((flight, state),))

    def _leave_handle(self, block: Block, state: State, flight: Raised | None) -> Transfer:
        with_spec = block.with_spec
        if with_spec is None:
            return Transfer((state,))
        effect = with_spec.success if flight is None else with_spec.error
        outcome = leave(self.spec, effect, state, closes=with_spec.closes)
        seen = (outcome.seen,) if outcome.seen is not None else ()
        if flight is None:
            return Transfer(outcome.normal, outcome.raised, seen)
        return Transfer((), tuple((flight, new) for new in outcome.normal), seen)

    def _suppress(self, block: Block, state: State, flight: Raised) -> Transfer:
        scope, resolver = self.frame.scope, self.frame.resolver
        matches = [clause_matches(resolver, node, scope, self.spec, flight) for node in block.types]
        best = max(matches, key=lambda match: match.value, default=Match.NO)
        swallowed = (state,) if best is not Match.NO else ()
        raised = ((flight, state),) if best is not Match.SURE else ()
        return Transfer((), raised, swallowed=swallowed)

    def _leave_function(self, block: Block, function: FunctionInfo, state: State, flight: Raised | None) -> Transfer:
        if block.kind is BlockKind.GENERATOR:
            start = Start.RESUME if flight is None else THROW[flight]
        else:
            start = Start.EXIT_OK if flight is None else Start.EXIT_RAISED
        relation = self._inside(block, function, start, state)
        if relation is None:
            if flight is None:
                return Transfer((state,))
            relation = self.relations.relation(function, self.subject, start, _entering(state))
        if flight is not None and len(function.yields) > 1:
            # Where one yield is undone and another is not, the plain one is for a block inside a block.
            relation = frozenset(pair for pair in relation if pair[1].tx is not Tx.FAILED) or relation
        told = self._told(relation, state)
        if flight is None:
            return told
        if block.kind is BlockKind.GENERATOR:
            return Transfer((), told.raised, told.seen, swallowed=told.normal)
        swallowed = self._told([pair for pair in relation if pair[0] is Exit.TRUE], state).normal
        ended = self._told([pair for pair in relation if pair[0] is Exit.NORMAL], state).normal
        return Transfer((), (*told.raised, *((flight, new) for new in ended)), told.seen, swallowed)


def _untouched(op: Op, states: tuple[State, ...]) -> tuple[State, ...]:
    """The states that stay when the receiver is another connection. One that failed under such a name is taken to be
    ended under it too.
    """
    if not op.weak:
        return ()
    ends = op.effect in (Effect.ROLLBACK, Effect.COMMIT, Effect.CLOSE, Effect.RELEASE)
    return tuple(state for state in states if not (ends and state.tx is Tx.FAILED))


def _recovered(relation: Relation) -> Relation:
    """The relation of a function whose decorator handles errors: it may have ended the transaction of a failed one."""
    return frozenset((way, State(Tx.IDLE, s.auto) if s.tx is Tx.FAILED and s.by == -1 else s) for way, s in relation)


def switched(state: State, mode: Mode) -> State:
    """The state after the autocommit mode was set; an unknown mode is the quiet one."""
    auto = mode is not Mode.TRANSACTION
    return State(Tx.IDLE, auto) if state.tx in (Tx.IDLE, Tx.OPEN) else state._replace(auto=auto)


def _other(state: State) -> tuple[tuple[Raised, State], ...]:
    """An ordinary exception of a step that usually succeeds; while a failure is being handled none is supposed, since
    a handler is not judged by what happens if its logging breaks.
    """
    return () if state.tx is Tx.FAILED else ((Raised.OTHER, state),)


def _entering(state: State) -> State:
    return state._replace(by=-3, left=False) if state.tx is Tx.FAILED else state


def _leaving(state: State, before: State) -> State:
    """The callee's state in the caller's terms: its handlers have no name here."""
    if state.tx is not Tx.FAILED:
        return state
    if state.by == -3:
        return state._replace(by=before.by, left=before.left)
    return state._replace(by=-2, left=True) if state.left else state._replace(by=-1, left=False)
