"""Whether somebody else may write between a SELECT and the INSERT that rests on it, and whether the code minds."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from dbsafety.facts.scopes import ClassInfo
from dbsafety.facts.sql import Verb, classify
from dbsafety.typestate.attributes import ancestry
from dbsafety.typestate.automaton import Tx
from dbsafety.typestate.ops import Op
from dbsafety.views.absence import Absence
from dbsafety.views.databases import Place, places_of
from dbsafety.views.locks import locks_around
from dbsafety.views.upgrades import never_ends, operations
from dbsafety.views.view import FunctionView, ModuleView

Site: TypeAlias = tuple[FunctionView, ast.AST]

_ALONE = {Place.MEMORY, Place.IMMUTABLE, Place.TEMPORARY}
_DUPLICATES = re.compile(r"integrity|unique|duplicate|23505|SQLITE_CONSTRAINT", re.IGNORECASE)
_TRANSACTIONS = re.compile(r"transaction|atomic|exclusive|immediate|serializ|begin", re.IGNORECASE)
_SETTING_UP = re.compile(
    r"(?:^|_)(?:init|initiali[sz]e|seed|setup|bootstrap|prepare|migrat\w*|schemas?|upgrade|populate|install|fixtures?)(?:_|$)"
)
_CALLERS = 3
_DEPTH = 2


def is_guarded(view: FunctionView, found: Absence) -> bool:
    """Whether a lock, the transaction or a handler takes care of a second writer, here or where the function is called;
    in doubt it is.
    """
    here = [(view, found.insert.call), (view, found.select.call)]
    around = [*here, *_call_sites(view, _DEPTH)]
    return (
        any(_handles_duplicates(*site) or locks_around(*site) or _may_lock(*site) for site in around)
        or any(_locks(function) for function in _functions(around))
        or _holds_the_lock(view, found)
        or _begins_with_the_lock(view, found)
    )


def has_one_actor(view: FunctionView, found: Absence) -> bool:
    """Whether nobody else writes: a database of its own, code that sets up the schema or first rows."""
    op = found.insert.op
    places = places_of(view.module, op.key) if op is not None else frozenset()
    if places and places <= _ALONE:
        return True
    functions = [view, *_functions(_call_sites(view, 1))]
    return any(_sets_up(function) for function in functions)


def absorbs(module: ModuleView, table: str) -> bool:
    """Whether the module says that the table takes care of duplicates by itself: `UNIQUE ... ON CONFLICT`."""
    for node in ast.walk(module.index.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "conflict" in node.value.lower():
            statement = classify(node.value)
            if statement.absorbs and table in [name.rpartition(".")[2] for name in statement.targets]:
                return True
    return False


def is_serializable(module: ModuleView) -> bool:
    """Whether the module speaks of the isolation level at which the database itself finds the second writer."""
    nodes = ast.walk(module.index.tree)
    names = (n.id if isinstance(n, ast.Name) else n.attr if isinstance(n, ast.Attribute) else _text(n) for n in nodes)
    return any("serializable" in name.lower() for name in names)


def _text(node: ast.AST) -> str:
    short = isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 80
    return node.value if short and isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _call_sites(view: FunctionView, depth: int) -> Iterator[Site]:
    """Where the module calls the function, or hands it to somebody who does, and where those functions are called."""
    name = view.name.rpartition(".")[2]
    if depth == 0 or not name:
        return
    index = view.module.index
    sites = [*index.callers.get(name, ())[:_CALLERS], *_handed_over(view, name)]
    for call, info in sites:
        caller = next((other for other in view.module.functions if other.info is info), None)
        if caller is not None and caller is not view:
            yield caller, call
            yield from _call_sites(caller, depth - 1)


def _handed_over(view: FunctionView, name: str) -> Iterator[tuple[ast.Call, object]]:
    """The calls that get the function as an argument: `pool.run(work)`."""
    outer = view.name.rpartition(".")[0]
    for other in view.module.functions:
        if outer and not f"{outer}.".startswith(f"{other.name}.") and other.info.cls is not view.info.cls:
            continue
        for call in other.info.calls:
            values = (*call.args, *(keyword.value for keyword in call.keywords))
            if any(isinstance(v, ast.Name | ast.Attribute) and ast.unparse(v).endswith(name) for v in values):
                yield call, other.info


def _functions(sites: Iterable[Site]) -> list[FunctionView]:
    return list({id(view): view for view, _ in sites}.values())


def _handles_duplicates(view: FunctionView, node: ast.AST) -> bool:
    """Whether a clause or manager around `node` speaks of integrity errors, or a decorator does."""
    inner = node
    speaking: list[ast.AST] = [*view.info.decorators]
    for outer in view.around(node):
        match outer:
            case ast.Try(body=body, handlers=handlers) if inner in body:
                speaking.extend(handlers)
            case ast.With(items=items) | ast.AsyncWith(items=items):
                speaking.extend(item.context_expr for item in items)
        inner = outer
    return any(_DUPLICATES.search(ast.unparse(part)) for part in speaking)


def _may_lock(view: FunctionView, node: ast.AST) -> bool:
    """Whether a manager of which nothing is known, but that it speaks of transactions, is entered around `node`."""
    blocks = (outer for outer in view.around(node) if isinstance(outer, ast.With | ast.AsyncWith))
    managers = (item.context_expr for block in blocks for item in block.items)
    unknown = (manager for manager in managers if not view.resolver.evaluate(manager, view.scope))
    return any(_TRANSACTIONS.search(ast.unparse(manager)) for manager in unknown)


def _locks(view: FunctionView) -> bool:
    """Whether the function takes a lock of the database: BEGIN IMMEDIATE, FOR UPDATE, LOCK, an advisory lock."""
    return any(op.statement.immediate or op.statement.holds for op in _ops(view))


def _sets_up(view: FunctionView) -> bool:
    name = view.name.rpartition(".")[2].lower()
    return _SETTING_UP.search(name) is not None or any(op.statement.verb is Verb.DDL for _, op in view.ops())


def _ops(view: FunctionView) -> Iterator[Op]:
    """What the function does itself, by the functions it calls, and by the managers whose blocks it enters."""
    yield from (op for _, op in view.ops())
    functions = [target.info for _, facts in view.calls() for target in facts.targets]
    blocks = (block for item in view.frame.items() for block in view.frame.blocks(item))
    functions += [f for block in blocks for f in (block.function, block.enter) if f is not None]
    yield from (op for _, _, op in operations(view, functions, 2))


def _begins_with_the_lock(view: FunctionView, found: Absence) -> bool:
    """Whether the module of the class that keeps the connection begins its transactions with the lock, as text."""
    op = found.select.op
    if op is None or op.key.kind != "attr":
        return False
    path = op.key.owner.partition(":")[0]
    owners = (cls for cls in _classes_around(view) if cls.module.path == path)
    calls = (call for cls in owners for info in cls.module.functions for call in info.calls if call.args)
    return any(classify(_text(call.args[0])).immediate for call in calls if _text(call.args[0]))


def _classes_around(view: FunctionView) -> Iterator[ClassInfo]:
    if view.info.cls is not None:
        yield from ancestry(view.resolver, view.info.cls)


def _holds_the_lock(view: FunctionView, found: Absence) -> bool:
    """Whether an earlier write of the same transaction holds the lock of the whole database (SQLite), or the
    transaction is one that DBS206 speaks of: begun without the lock, it fails at its first write.
    """
    op = found.select.op
    step = view.step_of(found.select.call)
    if op is None or step is None or not op.spec.keeps_lock:
        return False
    if op.spec.deferred_begin and never_ends(view, op.key) is not None:
        return True
    search = view.follow(op.handle, op.key)
    states = [node.state for node in search.parents if node.step == step.index and node.flight is None]
    return bool(states) and all(s.tx is Tx.OPEN and (s.dirty or op.spec.deferred_begin) for s in states)
