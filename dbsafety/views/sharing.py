"""Uses of one connection, or one cursor, by several threads without a common lock (fact C6a)."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from dbsafety.drivers.spec import Effect, HandleKind
from dbsafety.facts.scopes import FunctionInfo
from dbsafety.facts.sql import Verb
from dbsafety.flow.graph import StepKind
from dbsafety.typestate.blocks import BlockKind
from dbsafety.typestate.values import Handle, Key, handles
from dbsafety.views.locks import locks_around
from dbsafety.views.origins import origins
from dbsafety.views.threads import Started, started
from dbsafety.views.view import FunctionView, ModuleView

_SENDS = (Effect.EXECUTE, Effect.SCRIPT, Effect.COMMIT, Effect.ROLLBACK)
_CHANGES = (Verb.WRITE, Verb.DDL, Verb.BEGIN, Verb.COMMIT, Verb.ROLLBACK)
_LOCKS = frozenset({"threading.Lock", "threading.RLock", "threading.Condition", "threading.Semaphore"})
_LIFE = frozenset(
    {
        *("__init__", "__new__", "__post_init__", "__enter__", "__exit__", "__aenter__", "__aexit__", "__del__"),
        *("aclose", "close", "connect", "disconnect", "dispose", "init", "initialize", "join", "open", "run", "setup"),
        *("shutdown", "start", "stop", "teardown"),
    }
)
"""Methods that are called when no other thread is there yet, or any more."""
_WAITS = frozenset({"join", "result", "shutdown", "wait", "gather", "as_completed"})
CALLERS = "whoever calls"


@dataclass(frozen=True, slots=True)
class Use:
    """One use of the connection: `thread` is the name of the thread, CALLERS for whoever calls the public methods.

    `changes` says whether it writes or ends a transaction, `cursor` whether the cursor itself is the shared thing.
    `locks` are held; `several` and `sure` are those of the thread.
    """

    view: FunctionView
    node: ast.Call | ast.withitem
    changes: bool
    cursor: bool
    locks: frozenset[str]
    thread: str = CALLERS
    several: bool = False
    sure: bool = True

    @property
    def line(self) -> int:
        """Where it stands."""
        return self.node.lineno if isinstance(self.node, ast.Call) else self.node.context_expr.lineno


@dataclass(frozen=True, slots=True)
class Shared:
    """A connection opened at `opening` of `view` and two uses that may meet; `start` is what makes them meet.

    `start` is None when the evidence is that other uses hold the lock `lock`.
    """

    view: FunctionView
    opening: ast.Call
    handle: Handle
    key: Key
    first: Use
    second: Use
    start: Started | None
    lock: str = ""


def shared(module: ModuleView) -> Iterator[Shared]:
    """The connections of the module that may be used by any thread and are used by two without a common lock."""
    openings = list(_openings(module))
    if not openings:
        return
    threads = list(started(module))
    for view, call, handle, key in openings:
        if key.kind not in ("attr", "global", "local") or _is_per_thread(view, call, key):
            continue
        found = _meeting(module, key, threads) or _half_locked(module, key)
        if found is not None:
            first, second, start, lock = found
            yield Shared(view, call, handle, key, first, second, start, lock)


def _openings(module: ModuleView) -> Iterator[tuple[FunctionView, ast.Call, Handle, Key]]:
    """The calls that make such a connection: of the driver, or of a function that opens one and hands it out."""
    makers: set[int] = set()
    for view in module.functions:
        for found in _open_to_all(view):
            if _hands_out(view, found[1], found[3]):
                makers.add(id(view.info))
            else:
                yield found
    for view in module.functions if makers else ():
        for call, facts in view.calls():
            opened = [op for op in facts.ops if op.opens and op.spec.thread_check]
            if opened and any(id(target.info) in makers for target in facts.targets) and id(view.info) not in makers:
                yield view, call, opened[0].handle, opened[0].key


def _hands_out(view: FunctionView, call: ast.Call, key: Key) -> bool:
    """Whether the function returns or yields the connection: each call of it may make another."""
    given = [*(r.value for r in view.info.returns), *(y.value for y in view.info.yields)]
    values = (view.resolver.evaluate(node, view.scope) for node in given)
    parts = (part for node in given if node is not None for part in ast.walk(node))
    return any(h.key == key for found in values for h in handles(found)) or any(part is call for part in parts)


def _open_to_all(view: FunctionView) -> Iterator[tuple[FunctionView, ast.Call, Handle, Key]]:
    """The calls that open a connection and switch the driver's own check of the thread off."""
    words = {spec.thread_check for spec in view.resolver.table.drivers} - {""}
    for call in view.info.calls:
        given = {k.arg: k.value for k in call.keywords if k.arg in words}
        if not given and len(call.args) < 5:
            continue
        constructor = view.constructor(call)
        if constructor is None:
            continue
        places = {name: position for position, name in constructor.positions.items() if position < len(call.args)}
        for op in view.frame.call(call).ops:
            word = op.spec.thread_check
            value = given.get(word) or (call.args[places[word]] if word in places else None)
            if op.opens and word and isinstance(value, ast.Constant) and value.value is False:
                yield view, call, op.handle, op.key


def _is_per_thread(view: FunctionView, call: ast.Call, key: Key) -> bool:
    """Whether the connection is kept in a `threading.local`."""
    statement = view.statement_of(call)
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    owners = (target.value for target in targets if isinstance(target, ast.Attribute))
    return "." in key.name or any(f.dotted.endswith(".local") for o in owners for f in origins(view, o))


def _meeting(module: ModuleView, key: Key, threads: list[Started]) -> tuple[Use, Use, Started | None, str] | None:
    """Two uses by two threads that share no lock, the changing ones first."""
    by_start = [(use, start) for start in threads for use in _used_by(module, key, start)]
    if not by_start:
        return None
    others = [(use, None) for use in _by_others(module, key, threads)]
    pairs = [
        (one, other, start)
        for one, start in by_start
        for other, _ in (*by_start, *others)
        if (one.thread != other.thread or one.several)
        and not one.locks & other.locks
        and (one.changes or other.changes or (one.cursor and other.cursor))
    ]
    if not pairs:
        return None
    best = max(pairs, key=lambda pair: (pair[0].sure, pair[0].changes + pair[1].changes, -pair[0].line, -pair[1].line))
    return (*best, "")


def _half_locked(module: ModuleView, key: Key) -> tuple[Use, Use, Started | None, str] | None:
    """A changing use under a lock of threads, and one under no lock at all, in methods of one class."""
    if key.kind != "attr":
        return None
    uses = list(_by_callers(module, key, frozenset()))
    held = {lock for use in uses for lock in use.locks if _is_thread_lock(use.view, lock)}
    bare = [use for use in uses if not use.locks]
    for lock in sorted(held):
        under = [use for use in uses if lock in use.locks]
        pairs = [(one, other) for one in bare for other in under if one.changes or other.changes]
        if pairs:
            first, second = max(pairs, key=lambda pair: (pair[0].changes, pair[1].changes, -pair[0].line))
            return first, second, None, lock
    return None


def _is_thread_lock(view: FunctionView, lock: str) -> bool:
    """Whether the name is that of a lock of `threading` in the module."""
    scopes = [cls.attributes.get(lock, ()) for cls in view.info.module.classes]
    bindings = [b for found in scopes for b in found] + list(view.info.module.scope.bindings.get(lock, ()))
    values = (b.value for b in bindings if isinstance(b.value, ast.Call))
    return any(found.dotted in _LOCKS for node in values for found in origins(view, node))


def _used_by(module: ModuleView, key: Key, start: Started) -> Iterator[Use]:
    for use in _reached(module, key, {start.entry: start.held}):
        yield replace(use, thread=start.name, several=start.several, sure=start.sure)


def _by_others(module: ModuleView, key: Key, threads: list[Started]) -> Iterator[Use]:
    """What the starting threads do meanwhile: behind the start, and in the public methods of the class."""
    yield from _by_callers(module, key, frozenset(id(start.entry) for start in threads))
    for start in threads:
        if start.view is None or start.site is None or not start.sure:
            continue
        calls = set(map(id, _meanwhile(start.view, start.site)))
        own = _uses_in(start.view, key)
        yield from (use for use in own if id(use.node) in calls)
        entries: dict[FunctionInfo, frozenset[str]] = {}
        for call in start.view.info.calls:
            if id(call) in calls:
                for target in start.view.frame.call(call).targets:
                    entries[target.info] = locks_around(start.view, call)
        yield from _reached(module, key, entries)


def _meanwhile(view: FunctionView, site: ast.Call) -> Iterator[ast.AST]:
    """The calls and `with` items that run after the thread was started and before somebody waits for it."""
    step = view.step_of(site)
    going = isinstance(site.func, ast.Attribute) and site.func.attr not in ("Thread", "Timer")
    queue = deque([(step.index, going)] if step is not None else [])
    seen = set(queue)
    while queue:
        index, running = queue.popleft()
        current = view.cfg.steps[index]
        name = _name_of(current.node)
        if index != getattr(step, "index", -1):
            if running and (name in _WAITS or current.kind is StepKind.WITH_EXIT):
                continue
            running = running or name == "start"
            if running and current.node is not None and name != "start":
                yield current.node
        for edge in current.succ:
            if (edge.target, running) not in seen:
                seen.add((edge.target, running))
                queue.append((edge.target, running))


def _name_of(node: ast.AST | None) -> str:
    match node:
        case ast.Call(func=ast.Attribute(attr=name)) | ast.Call(func=ast.Name(id=name)):
            return name
    return ""


def _by_callers(module: ModuleView, key: Key, entries: frozenset[int]) -> Iterator[Use]:
    """The uses by the public methods of the class that keeps the connection, called by whoever."""
    if key.kind != "attr":
        return
    owner = next((cls for cls in module.index.classes if cls.key == key.owner), None)
    for name, info in owner.methods.items() if owner is not None else ():
        private = name.startswith("_") and not (name.startswith("__") and name.endswith("__"))
        if name not in _LIFE and not private and id(info) not in entries and not _opens(module, info, key):
            yield from _reached(module, key, {info: frozenset()})


def _opens(module: ModuleView, info: FunctionInfo, key: Key) -> bool:
    frame = module.summaries.frame(info)
    return any(op.opens and op.key == key for call in info.calls for op in frame.call(call).ops)


def _reached(module: ModuleView, key: Key, entries: Mapping[FunctionInfo, frozenset[str]]) -> Iterator[Use]:
    """The uses in the functions and in what they call in this module, with the locks held on every way there."""
    held = dict(entries)
    queue = deque(entries)
    views = {id(view.info): view for view in module.functions}
    while queue:
        info = queue.popleft()
        view = views.get(id(info))
        if view is None:
            continue
        for call in info.calls:
            for target in view.frame.call(call).targets:
                locks = held[info] | locks_around(view, call)
                known = held.get(target.info)
                if known is None or not known <= locks:
                    held[target.info] = locks if known is None else known & locks
                    queue.append(target.info)
    for info, locks in held.items():
        if id(info) in views and not _opens(module, info, key):
            for use in _uses_in(views[id(info)], key):
                yield replace(use, locks=use.locks | locks)


def _uses_in(view: FunctionView, key: Key) -> Iterator[Use]:
    """The statements that the function sends on the connection, and the blocks that end its transactions."""
    for call, op in view.ops(key):
        if op.effect in _SENDS and not op.weak:
            changes = op.effect is not Effect.EXECUTE or op.statement.verb in _CHANGES
            cursor = op.handle.kind is HandleKind.CURSOR and _is_kept(view, call.func)
            yield Use(view, call, changes, cursor, locks_around(view, call))
    for item in view.frame.items() if key in view.frame.own() else ():
        if any(block.kind is BlockKind.HANDLE and key in block.keys for block in view.frame.blocks(item)):
            yield Use(view, item, changes=True, cursor=False, locks=locks_around(view, item))


def _is_kept(view: FunctionView, method: ast.expr) -> bool:
    """Whether the method is one of an object that is there before the function: an attribute's, or an outer name's."""
    receiver = method.value if isinstance(method, ast.Attribute) else None
    if isinstance(receiver, ast.Name):
        owner = view.scope.find(receiver.id)
        return owner is not None and owner is not view.scope
    return isinstance(receiver, ast.Attribute)
