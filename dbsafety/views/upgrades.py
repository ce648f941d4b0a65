"""Transactions of SQLite that begin without the write lock, read, and then need it (facts C2a, C6c)."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from dbsafety.drivers.spec import Effect
from dbsafety.facts.constants import HOLE
from dbsafety.facts.scopes import FunctionInfo
from dbsafety.facts.sql import Verb
from dbsafety.flow.graph import StepKind
from dbsafety.typestate.automaton import Raised, Tx
from dbsafety.typestate.ops import Op
from dbsafety.typestate.relation import Subject
from dbsafety.typestate.report import entry_state
from dbsafety.typestate.search import Node, Search
from dbsafety.typestate.values import Handle, Key, handles
from dbsafety.views.view import FunctionView

WRITES = (Verb.WRITE, Verb.DDL)
_DEPTH = 4
_ENDS = (Effect.COMMIT, Effect.ROLLBACK, Effect.CLOSE, Effect.SCRIPT, Effect.UNKNOWN, Effect.BEGIN, Effect.AUTOCOMMIT)
_END_VERBS = (Verb.COMMIT, Verb.ROLLBACK, Verb.BEGIN, Verb.RELEASE, Verb.UNKNOWN)
_LOOKS = ("user_version", "table_info", "table_xinfo", "index_list", "index_info", "foreign_key_list")
"""Pragmas that read the file (observed: they begin the read transaction as a SELECT does)."""


class Kind(Enum):
    """How a transaction begins."""

    BEGIN = "begin"
    SAVEPOINT = "savepoint"
    ALWAYS = "always"
    """The connection was opened with `autocommit=False`: the next transaction begins when one ends (fact C6c)."""


@dataclass(frozen=True, slots=True)
class Begin:
    """Where a transaction begins: `place` is the call or `with` item of the function that is looked at, None for its
    entry; `statement` is the call that sends the text, or opens the connection, in `function`.
    """

    kind: Kind
    place: ast.Call | ast.withitem | None
    statement: ast.Call
    function: FunctionInfo
    key: Key
    handle: Handle


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A transaction that reads at `read` and writes at `write`, both calls of the function that is looked at."""

    begin: Begin
    read: ast.Call
    write: ast.Call


def upgrades(view: FunctionView) -> Iterator[Upgrade]:
    """The transactions that read and then write in the function, the first write of each place where one begins."""
    for key, handle in _written(view).items():
        opening = never_ends(view, key)
        if opening is None and not any(_may_begin(view, node, key) for node in _places(view)):
            continue
        search = view.follow(handle, key)
        if search.over_budget:
            continue
        found = _always(view, search, opening) if opening is not None else _begun(view, search)
        for begin, starts in found:
            upgrade = _upgrade(view, search, begin, starts)
            if upgrade is not None:
                yield upgrade


def _written(view: FunctionView) -> dict[Key, Handle]:
    """The connections that may be written to by the function itself or by what it calls."""
    found: dict[Key, Handle] = {}
    for call, facts in view.calls():
        for op in facts.ops:
            if op.spec.deferred_begin and op.statement.verb in (*WRITES, Verb.BEGIN, Verb.SAVEPOINT):
                found.setdefault(op.key, op.handle)
        if facts.targets:
            for _, _, op in operations(view, [target.info for target in facts.targets], 1):
                if op.spec.deferred_begin and op.statement.verb in WRITES and op.key.persistent:
                    found.setdefault(op.key, op.handle)
            found.update(_given(view, call) if facts.passed else {})
    return found


def _given(view: FunctionView, call: ast.Call) -> dict[Key, Handle]:
    arguments = (*call.args, *(keyword.value for keyword in call.keywords))
    found = (h for a in arguments for h in handles(view.resolver.evaluate(a, view.scope)))
    return {handle.key: handle for handle in found if view.spec(handle).deferred_begin}


def _places(view: FunctionView) -> Iterator[ast.Call | ast.withitem]:
    yield from view.info.calls
    yield from view.frame.items()


def _may_begin(view: FunctionView, place: ast.Call | ast.withitem, key: Key) -> bool:
    return next(_beginnings(view, place, key), None) is not None


def _always(
    view: FunctionView, search: Search, opening: tuple[FunctionInfo, ast.Call]
) -> Iterator[tuple[Begin, list[Node]]]:
    """The transaction that is always open: from the opening on, or from the entry when it was opened elsewhere."""
    function, call = opening
    key, handle = search.subject.key, search.subject.handle
    if function is view.info:
        nodes = [n for n in tuple(search.parents) if search.steps[n.step].node is call and n.flight is None]
        after = [n for node in nodes for n in search.successors(node) if n.flight is None]
        yield Begin(Kind.ALWAYS, call, call, function, key, handle), after
    else:
        start = Node(view.cfg.entry, entry_state(view.info, Subject(key, handle)))
        yield Begin(Kind.ALWAYS, None, call, function, key, handle), [start]


def _begun(view: FunctionView, search: Search) -> Iterator[tuple[Begin, list[Node]]]:
    """The places of the function where the connection begins a transaction without the lock, with what follows."""
    key = search.subject.key
    for node in tuple(search.parents):
        place = search.steps[node.step].node
        if node.flight is not None or node.state.tx in (Tx.OPEN, Tx.FAILED):
            continue
        if not isinstance(place, ast.Call | ast.withitem) or search.steps[node.step].kind is StepKind.WITH_EXIT:
            continue
        begin = next(_beginnings(view, place, key), None)
        after = [n for n in search.successors(node) if n.flight is None and not n.state.dirty] if begin else []
        if begin is not None and begin.kind is Kind.BEGIN:
            yield begin, [n for n in after if n.state.tx is Tx.OPEN]
        elif begin is not None and node.state.tx is Tx.IDLE and key.kind in ("local", "site"):
            yield begin, after


def _beginnings(view: FunctionView, place: ast.Call | ast.withitem, key: Key) -> Iterator[Begin]:
    """The statements that begin a transaction at `place`; none at all if one of them takes the lock, or may do."""
    found: list[Begin] = []
    for function, call, op in _reached(view, place, key):
        if op.statement.verb is Verb.BEGIN:
            if op.statement.immediate or HOLE in (op.sql or HOLE) or _is_replaceable(call):
                return
            found.append(Begin(Kind.BEGIN, place, call, function, key, op.handle))
        elif op.statement.verb is Verb.SAVEPOINT and function is view.info:
            found.append(Begin(Kind.SAVEPOINT, place, call, function, key, op.handle))
    yield from found


def _is_replaceable(call: ast.Call) -> bool:
    """Whether the text is an attribute (`self.begin_sql`), which a subclass may give another value."""
    return any(isinstance(argument, ast.Attribute) for argument in call.args[:1])


def _reached(
    view: FunctionView, place: ast.Call | ast.withitem, key: Key
) -> Iterator[tuple[FunctionInfo, ast.Call, Op]]:
    """The operations at `place`, and those of the functions that run there."""
    if isinstance(place, ast.Call):
        facts = view.frame.call(place)
        yield from ((view.info, place, op) for op in facts.ops if op.key == key)
        functions = [target.info for target in facts.targets]
    else:
        blocks = view.frame.blocks(place)
        functions = [f for block in blocks for f in (block.function, block.enter) if f is not None]
    yield from operations(view, functions)


def operations(
    view: FunctionView, functions: Sequence[FunctionInfo], depth: int = _DEPTH
) -> Iterator[tuple[FunctionInfo, ast.Call, Op]]:
    """What the functions, and those that they call, do on whatever connections."""
    seen: set[int] = set()
    level = list(functions)
    for _ in range(depth):
        following: list[FunctionInfo] = []
        for function in level:
            if id(function) in seen:
                continue
            seen.add(id(function))
            frame = view.module.summaries.frame(function)
            for call in function.calls:
                facts = frame.call(call)
                yield from ((function, call, op) for op in facts.ops)
                following.extend(target.info for target in facts.targets)
        level = following


@dataclass(frozen=True, slots=True)
class Done:
    """What a call does inside a transaction that is open: reads, writes, or ends it (perhaps)."""

    reads: bool = False
    writes: bool = False
    ends: bool = False


def _upgrade(view: FunctionView, search: Search, begin: Begin, starts: list[Node]) -> Upgrade | None:
    """The first write behind a read in the transaction that `begin` began; it follows ways without exceptions."""
    queue: deque[tuple[Node, ast.Call | None, bool]] = deque((node, None, False) for node in starts)
    seen: set[tuple[Node, bool, bool]] = set()
    while queue:
        node, read, held = queue.popleft()
        if (node, read is not None, held) in seen:
            continue
        seen.add((node, read is not None, held))
        place = search.steps[node.step].node
        done = _at(view, place, begin.key)
        if isinstance(place, ast.Call) and done.writes and read is not None and not held:
            if not _starts_over(search, node, begin):
                return Upgrade(begin, read, place)
            continue
        if done.ends or done.writes:
            if begin.kind is not Kind.ALWAYS:
                continue
            read, held = None, done.writes and not done.ends
        if isinstance(place, ast.Call) and done.reads and read is None:
            read = place
        following = (n for n in search.successors(node) if n.flight is None)
        queue.extend((n, read, held) for n in following if _goes_on(begin, n))
    return None


def _goes_on(begin: Begin, node: Node) -> bool:
    """Whether the transaction is still open, as far as the state tells."""
    match begin.kind:
        case Kind.BEGIN:
            return node.state.tx is Tx.OPEN and not node.state.dirty
        case Kind.SAVEPOINT:
            return node.state.tx in (Tx.IDLE, Tx.OPEN) and not node.state.dirty
    return node.state.tx in (Tx.IDLE, Tx.OPEN)


def _at(view: FunctionView, place: ast.AST | None, key: Key) -> Done:
    """What a step does to the transaction of the connection."""
    if isinstance(place, ast.Call):
        return done_by(view, place, key)
    if isinstance(place, ast.withitem):
        return Done(ends=any(key in block.keys for block in view.frame.blocks(place)))
    return Done()


def done_by(view: FunctionView, call: ast.Call, key: Key) -> Done:
    """What a call does to the transaction of the connection; a function that both reads and writes may end it too."""
    facts = view.frame.call(call)
    ops = [op for op in facts.ops if op.key == key]
    if facts.unknown and key in facts.passed:
        return Done(ends=True)
    if ops or not facts.targets:
        return _of(ops)
    done = _of(inside(view, call, key))
    return Done(ends=True) if done.reads and done.writes else done


def inside(view: FunctionView, call: ast.Call, key: Key) -> list[Op]:
    """The operations on the connection in the functions that the call runs, as far as they know it."""
    facts = view.frame.call(call)
    given = key in facts.passed
    found = operations(view, [target.info for target in facts.targets])
    return [op for _, _, op in found if op.key == key or (given and op.key.kind == "param")]


def _of(ops: list[Op]) -> Done:
    sent = [op.statement.verb for op in ops if op.effect is Effect.EXECUTE]
    return Done(
        reads=any(is_read(op) for op in ops),
        writes=any(verb in WRITES for verb in sent),
        ends=any(op.effect in _ENDS or op.opens for op in ops) or any(verb in _END_VERBS for verb in sent),
    )


def is_read(op: Op) -> bool:
    """Whether the statement reads the file: a SELECT from something, or a PRAGMA that looks at the schema."""
    text = f" {' '.join((op.sql or '').lower().split())} "
    if op.effect is not Effect.EXECUTE:
        return False
    if op.statement.verb is Verb.OTHER:
        return any(word in text for word in _LOOKS) and "=" not in text
    return op.statement.verb is Verb.READ and " from " in text


def _starts_over(search: Search, write: Node, begin: Begin) -> bool:
    """Whether the error of the write leads back to where the transaction begins: the only retry that helps (C2a)."""
    queue = deque(node for node in search.successors(write) if node.flight is Raised.DB)
    seen = set(queue)
    while queue:
        node = queue.popleft()
        step = search.steps[node.step]
        if begin.place is not None and step.node is begin.place and step.kind is not StepKind.WITH_EXIT:
            return True
        for following in search.successors(node):
            if following not in seen:
                seen.add(following)
                queue.append(following)
    return False


def never_ends(view: FunctionView, key: Key) -> tuple[FunctionInfo, ast.Call] | None:
    """Where the module opens the connection with `autocommit=False`, which is in a transaction always (fact C6c)."""
    if key.kind == "param":
        return None
    for other in view.module.functions:
        for call, op in other.ops(key):
            if op.opens and any(_is_off(keyword) for keyword in call.keywords):
                return other.info, call
    return None


def _is_off(keyword: ast.keyword) -> bool:
    return keyword.arg == "autocommit" and isinstance(keyword.value, ast.Constant) and keyword.value.value is False


def immediate(text: str) -> str:
    """The text of a deferred BEGIN, which holds nothing else, made to take the lock, in its own case, as a literal."""
    words = [word for word in text.split() if word.strip(";").upper() != "DEFERRED"]
    words[0] = words[0].rstrip(";")
    words.insert(1, "IMMEDIATE" if words[0].isupper() else "immediate")
    new = " ".join(words)
    return repr(new) if '"' in new or "\\" in new else f'"{new}"'
