"""Calls that wait for something outside the program while a transaction holds what it has written (facts C2f, C5d)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from dbsafety.drivers.spec import DriverSpec, Effect
from dbsafety.facts.scopes import Binding, BindKind, FunctionInfo, Scope
from dbsafety.flow.graph import StepKind
from dbsafety.typestate.automaton import State, Tx
from dbsafety.typestate.parameters import argument_for
from dbsafety.typestate.relation import Start, Subject
from dbsafety.typestate.search import Node, Search
from dbsafety.typestate.values import Class, External, Function, Handle, Instance, Key, handles, param_key
from dbsafety.views.atomic import blocks, calls_inside
from dbsafety.views.atomic_writes import is_write, written_before
from dbsafety.views.slow_calls import QUICK_METHODS, SHORTEST_SLEEP, SLEEPS, SLOW_CALLS, STARTERS
from dbsafety.views.view import FunctionView, ModuleView

_DEPTH = 6
"""Calls of project functions that are followed to a slow one."""
_SENDING = frozenset({"bulk_insert_mappings", "bulk_save_objects", "bulk_update_mappings", "flush"})
"""Methods of a session that send what was given to it, with no text."""
_LINKS = 8
"""Attributes, variables and calls that are followed to where an object was made."""


@dataclass(frozen=True, slots=True)
class Wait:
    """`call` waits (in the function `inside`, when it calls one), for the name `slow` on line `line` of `path`.

    `write` is the statement whose transaction is still open.
    """

    view: FunctionView
    call: ast.Call
    inside: FunctionInfo | None
    slow: str
    path: str
    line: int
    write: ast.Call
    key: Key
    handle: Handle
    spec: DriverSpec


@dataclass(frozen=True, slots=True)
class _Slow:
    """A slow call in some function."""

    call: ast.Call
    name: str
    path: str


class Waits:
    """The slow calls of one module under open transactions; what is known of functions is kept for one run."""

    def __init__(self, view: ModuleView) -> None:
        self.view = view
        names = (*SLOW_CALLS, *view.options.slow_calls)
        self._names = frozenset(name for name in names if not name.endswith(".*"))
        self._below = frozenset(name.removesuffix(".*") for name in names if name.endswith(".*"))
        self._slow: dict[int, str] = {}
        self._within: dict[int, _Slow | None] = {}

    def all(self) -> Iterator[tuple[Wait, ...]]:
        """The waits of each function, connection and first write, in source order."""
        groups: dict[tuple[str, Key, int], list[Wait]] = {}
        for wait in self._each():
            groups.setdefault((wait.view.name, wait.key, id(wait.write)), []).append(wait)
        for group in groups.values():
            yield tuple(sorted(group, key=lambda wait: (wait.call.lineno, wait.call.col_offset)))

    def _each(self) -> Iterator[Wait]:
        for view in self.view.functions:
            calls = [call for call, _ in view.calls() if self._reached(view.info, call) is not None]
            if not calls:
                continue
            for key, handle in sorted(self.view.summaries.touched(view.info).items()):
                spec = view.spec(handle)
                if not spec.sends:
                    yield from self._on(view, calls, key, handle)
            for spec in view.resolver.table.drivers:
                if spec.sends:
                    yield from self._in_blocks(view, calls, spec)

    def _on(self, view: FunctionView, calls: list[ast.Call], key: Key, handle: Handle) -> Iterator[Wait]:
        if not self._writes(view.info, key, view.spec(handle)):
            return
        search = view.follow(handle, key)
        if search.over_budget:
            return
        seen: set[int] = set()
        for node in tuple(search.parents):
            step = search.steps[node.step]
            if step.kind is not StepKind.CALL or not isinstance(step.node, ast.Call) or id(step.node) in seen:
                continue
            if node.state.tx is not Tx.OPEN or not any(step.node is call for call in calls):
                continue
            written = _written(search, node) if node.state.dirty else _flushed(view, search, node)
            slow = self._under(view.info, step.node, search.subject, node.state._replace(dirty=True), _DEPTH)
            if slow is not None and written is not None:
                seen.add(id(step.node))
                yield self._wait(view, step.node, slow, written, key, handle)

    def _in_blocks(self, view: FunctionView, calls: list[ast.Call], spec: DriverSpec) -> Iterator[Wait]:
        seen: set[int] = set()
        for opened, body in blocks(view, spec):
            inside = calls_inside(body)
            writes = [call for call in inside if is_write(view, call, spec)]
            for call in inside if writes else ():
                if id(call) in seen or not any(call is other for other in calls):
                    continue
                slow = self._reached(view.info, call)
                write = written_before(view, opened, writes, call, spec) if slow is not None else None
                if slow is not None and write is not None:
                    seen.add(id(call))
                    key = Key("site", f"{view.path}:{view.name}", ast.unparse(opened))
                    kind = next(iter(spec.handles))
                    yield self._wait(view, call, slow, write, key, Handle(spec.name, kind, key))

    def _wait(self, view: FunctionView, call: ast.Call, slow: _Slow, write: ast.Call, key: Key, handle: Handle) -> Wait:
        targets = view.frame.call(call).targets
        inside = targets[0].info if targets and slow.call is not call else None
        return Wait(view, call, inside, slow.name, slow.path, slow.call.lineno, write, key, handle, view.spec(handle))

    def _writes(self, function: FunctionInfo, key: Key, spec: DriverSpec) -> bool:
        """Whether a write on the connection may be sent by the function, or by one that it calls."""
        frame = self.view.summaries.frame(function)
        for call in function.calls:
            facts = frame.call(call)
            name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
            if any(op.key == key and (op.statement.writes or name in _SENDING) for op in facts.ops) or facts.targets:
                return spec.aborts or spec.keeps_lock
        return False

    def _under(
        self, function: FunctionInfo, call: ast.Call, subject: Subject, state: State, depth: int
    ) -> _Slow | None:
        """The slow call that `call` comes to with the write still waiting for its commit."""
        name = self._name(function, call)
        if name:
            return _Slow(call, name, function.module.path)
        for target in self._run(function, call):
            keys = self._keys_inside(function, call, target, subject.key)
            if not keys and not self._may_hold(target.info, subject):
                slow = self._first(target.info, depth - 1)
                if slow is not None:
                    return slow
            for key in keys:
                slow = self._followed(target.info, Subject(key, subject.handle.moved(key)), state, depth - 1)
                if slow is not None:
                    return slow
        return None

    def _followed(self, function: FunctionInfo, subject: Subject, state: State, depth: int) -> _Slow | None:
        if depth <= 0 or self._first(function, depth) is None:
            return None
        search = self.view.summaries.search(function, subject)
        search.run(Start.ENTRY, state)
        for node in tuple(search.parents) if not search.over_budget else ():
            step = search.steps[node.step]
            if step.kind is StepKind.CALL and isinstance(step.node, ast.Call) and _waits_for_commit(node.state):
                slow = self._under(function, step.node, subject, node.state, depth)
                if slow is not None:
                    return slow
        return None

    def _may_hold(self, function: FunctionInfo, subject: Subject) -> bool:
        """Whether the function works on a connection that may be this one under another name, and may commit it."""
        touched = self.view.summaries.touched(function).values()
        return any(handle.driver == subject.handle.driver for handle in touched)

    def _keys_inside(self, function: FunctionInfo, call: ast.Call, target: Function, key: Key) -> list[Key]:
        """By which keys the called function knows the connection."""
        found = [key] if key.persistent and key in self.view.summaries.touched(target.info) else []
        for argument in target.info.parameters:
            value = argument_for(call, target.info, argument.arg)
            if any(h.key == key for h in handles(self.view.resolver.evaluate(value, function.scope))):
                found.append(param_key(target.info, argument.arg))
        return found

    def _reached(self, function: FunctionInfo, call: ast.Call) -> _Slow | None:
        name = self._name(function, call)
        if name:
            return _Slow(call, name, function.module.path)
        return next(
            (slow for t in self._run(function, call) if (slow := self._first(t.info, _DEPTH - 1)) is not None), None
        )

    def _first(self, function: FunctionInfo, depth: int) -> _Slow | None:
        """The first slow call of the function, or of one that it calls."""
        if depth <= 0:
            return None
        if id(function) not in self._within:
            self._within[id(function)] = None
            for call in sorted(function.calls, key=lambda node: (node.lineno, node.col_offset)):
                name = self._name(function, call)
                slow = _Slow(call, name, function.module.path) if name else None
                for target in self._run(function, call) if slow is None else ():
                    slow = slow or self._first(target.info, depth - 1)
                if slow is not None:
                    self._within[id(function)] = slow
                    break
        return self._within[id(function)]

    def _run(self, function: FunctionInfo, call: ast.Call) -> list[Function]:
        """The project functions whose body runs where the call stands: a coroutine's only when it is awaited."""
        targets = self.view.summaries.frame(function).call(call).targets
        if any(isinstance(target.info.node, ast.AsyncFunctionDef) for target in targets):
            awaited = (node.value for node in ast.walk(function.node) if isinstance(node, ast.Await))
            return list(targets) if any(value is call for value in awaited) else []
        return [target for target in targets if not target.info.yields]

    def _name(self, function: FunctionInfo, call: ast.Call) -> str:
        """The name under which the call is known to be slow, "" when it is not."""
        if id(call) not in self._slow:
            dotted = next((d for d in self._dotted(call.func, function.scope) if self._is_slow(d)), "")
            quick = dotted and (_is_short(dotted, call) or _is_handed_on(function, call))
            self._slow[id(call)] = "" if quick else dotted
        return self._slow[id(call)]

    def _is_slow(self, dotted: str) -> bool:
        if dotted in self._names:
            return True
        if dotted.rpartition(".")[2] in QUICK_METHODS:
            return False
        return any(dotted[:at] in self._below for at, sign in enumerate(dotted) if sign == ".")

    def _dotted(self, node: ast.expr, scope: Scope, depth: int = 0) -> Iterator[str]:
        """The canonical names an expression may have; an object goes by the name of what made it."""
        if depth > _LINKS:
            return
        values = self.view.resolver.evaluate(node, scope)
        named = [value.dotted for value in values if isinstance(value, External)]
        yield from named
        if self.view.options.slow_calls:
            yield from (name for value in values if isinstance(value, Function | Class) for name in _names_of(value))
        if named or values:
            return
        match node:
            case ast.Attribute(value=value, attr=attr):
                yield from (f"{base}.{attr}" for base in self._dotted(value, scope, depth + 1))
                yield from self._of_attribute(value, attr, scope, depth)
            case ast.Call(func=func) | ast.Await(value=ast.Call(func=func)):
                yield from self._dotted(func, scope, depth + 1)
            case ast.Name(id=name):
                owner = scope.find(name)
                for binding in owner.bindings[name] if owner is not None else ():
                    yield from self._of_binding(binding, name, depth)

    def _of_attribute(self, value: ast.expr, attr: str, scope: Scope, depth: int) -> Iterator[str]:
        for owner in self.view.resolver.evaluate(value, scope):
            if isinstance(owner, Instance | Class):
                for binding in owner.info.attributes.get(attr, ()):
                    yield from self._of_binding(binding, attr, depth)

    def _of_binding(self, binding: Binding, name: str, depth: int) -> Iterator[str]:
        if binding.kind in (BindKind.VALUE, BindKind.WITH) and not binding.path and binding.value is not None:
            yield from self._dotted(binding.value, binding.scope, depth + 1)
        function = binding.scope.function
        if binding.kind is BindKind.PARAMETER and function is not None:
            annotations = (a.annotation for a in function.parameters if a.arg == name and a.annotation is not None)
            for annotation in annotations:
                yield from self._dotted(annotation, binding.scope, depth + 1)


def _names_of(value: Function | Class) -> Iterator[str]:
    """The dotted names of something of the project, from each folder above its module that imports may start from."""
    parts = value.info.module.name.split(".")
    return (".".join((*parts[start:], value.info.qualname)) for start in range(len(parts)))


def _written(search: Search, node: Node) -> ast.Call | None:
    """The call that wrote first on the way to the node."""
    write = next((b for b, a in pairwise(search.path(node)) if a.state.dirty and not b.state.dirty), None)
    written = search.steps[write.step].node if write is not None else None
    return written if isinstance(written, ast.Call) else None


def _flushed(view: FunctionView, search: Search, node: Node) -> ast.Call | None:
    """The last call on the way to the node that sends what was given to a session: `flush` behind an `add`."""
    waiting, sent = False, None
    for point in search.path(node):
        call = search.steps[point.step].node
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            continue
        for op in view.frame.call(call).ops:
            spec = op.spec.handles.get(op.handle.kind)
            method = spec.methods.get(call.func.attr) if spec is not None and op.key == search.subject.key else None
            if method is None:
                continue
            waiting = waiting or method.writes
            if waiting and op.effect is Effect.EXECUTE and call.func.attr in _SENDING:
                sent = call
            if op.effect in (Effect.COMMIT, Effect.ROLLBACK):
                waiting, sent = False, None
    return sent


def _waits_for_commit(state: State) -> bool:
    return state.tx is Tx.OPEN and state.dirty


def _is_handed_on(function: FunctionInfo, call: ast.Call) -> bool:
    """Whether the call makes a coroutine that a task of its own then runs."""
    starting = (c for c in function.calls if ast.unparse(c.func).rpartition(".")[2] in STARTERS)
    return any(argument is call for start in starting for argument in start.args)


def _is_short(dotted: str, call: ast.Call) -> bool:
    """Whether the call sleeps for a moment only."""
    argument = call.args[0] if call.args else next((k.value for k in call.keywords), None)
    seconds = argument.value if isinstance(argument, ast.Constant) else None
    return dotted in SLEEPS and isinstance(seconds, int | float) and seconds < SHORTEST_SLEEP
