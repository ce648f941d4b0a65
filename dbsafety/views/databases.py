"""Questions about the database a call opens: in memory, immutable, temporary, or shared with other writers."""

from __future__ import annotations

import ast
from collections.abc import Collection, Sequence
from enum import Enum
from pathlib import PurePath

from dbsafety.drivers.spec import Effect
from dbsafety.facts.constants import text_of
from dbsafety.facts.scopes import Binding, BindKind
from dbsafety.facts.sql import Verb
from dbsafety.typestate.ops import Op
from dbsafety.typestate.values import External, Function, Key, handles
from dbsafety.views.view import FunctionView, ModuleView

_TEMPORARY_WORDS = ("tmp", "temp", "scratch")
_READ_ONLY = ("mode=ro", "immutable=1")
_THREADED = (
    *("threading", "concurrent", "multiprocessing", "flask", "fastapi", "django", "socketserver", "starlette"),
    *("bottle", "celery", "cherrypy", "telebot", "tornado", "wsgiref"),
)
_CONCURRENT = ("threading", "concurrent", "multiprocessing", "asyncio", "flask", "fastapi", "django", "socketserver")


class Place(Enum):
    """What is known of the file."""

    MEMORY = "memory"
    IMMUTABLE = "immutable"
    READ_ONLY = "read-only"
    """Opened with `mode=ro`: it holds no lock, but waits for writers."""
    TEMPORARY = "temporary"
    SHARED = "shared"
    """The module itself runs threads or serves requests."""
    UNKNOWN = "unknown"


_LOCKED_BY_NOBODY = frozenset({Place.MEMORY, Place.IMMUTABLE, Place.READ_ONLY})
"""No writer of another connection is kept waiting by one to such a database."""


def place_of(view: FunctionView, call: ast.Call) -> Place:
    """What the first argument of an opening call says about the database, or of those of the function it calls; of a
    server's nothing, whatever it is named.
    """
    opened = [op.spec for op in view.frame.call(call).ops if op.opens]
    if opened and not any(spec.keeps_lock for spec in opened):
        return Place.SHARED if is_concurrent(view.module) else Place.UNKNOWN
    if view.constructor(call) is None:
        places = _places_inside(view, call)
        if len(places) == 1:
            return places.pop()
        if places and places <= _LOCKED_BY_NOBODY:
            return Place.READ_ONLY
    argument = next((k.value for k in call.keywords if k.arg == "database"), call.args[0] if call.args else None)
    text = _said_by_test(view, call, argument) if argument is not None else None
    text = text if text is not None else text_of(argument, view.scope)
    told = _told_by(text.lower()) if text is not None else None
    if told is not None:
        return told
    if argument is not None and _reads_in_each_turn(view, argument):
        return Place.READ_ONLY
    if argument is not None and _is_temporary(view, argument):
        return Place.TEMPORARY
    return Place.SHARED if is_concurrent(view.module) else Place.UNKNOWN


def _told_by(text: str) -> Place | None:
    """What a path or URI in small letters says."""
    if text in (":memory:", "") or text.startswith("file::memory:") or "mode=memory" in text:
        return Place.MEMORY
    if "immutable=1" in text:
        return Place.IMMUTABLE
    return Place.READ_ONLY if "mode=ro" in text else None


def _reads_in_each_turn(view: FunctionView, argument: ast.expr) -> bool:
    """Whether a loop around the call goes over written-out parts of the URI, each of which says `mode=ro` or so."""
    names = [node.id for node in ast.walk(argument) if isinstance(node, ast.Name)]
    found = (binding for name in names for binding in view.scope.bindings.get(name, ()))
    turns = [b.value.elts for b in found if b.kind is BindKind.ELEMENT and isinstance(b.value, (ast.Tuple, ast.List))]
    return any(
        elements and all(any(word in (text_of(e, view.scope) or "") for word in _READ_ONLY) for e in elements)
        for elements in turns
    )


def _places_inside(view: FunctionView, call: ast.Call) -> set[Place]:
    """What is known of the databases that a project function opens and returns."""
    found: set[Place] = set()
    for callee in view.resolver.evaluate(call.func, view.scope):
        if not isinstance(callee, Function):
            continue
        maker = FunctionView(view.module, callee.info)
        returned = (maker.resolver.evaluate(r.value, maker.scope) for r in callee.info.returns)
        keys = {handle.key for values in returned for handle in handles(values)}
        calls = (inner for inner, op in maker.ops() if op.opens and op.key in keys)
        found |= {place_of(maker, inner) for inner in calls if maker.constructor(inner) is not None}
    return found


def is_upgrade(path: str) -> bool:
    """Whether a file brings a database up to date, as its name or its folder says: it runs once, before others open
    the database, and ends the program when it fails.
    """
    return any(part.lower().startswith("migrat") for part in PurePath(path).parts[-2:])


def _said_by_test(view: FunctionView, call: ast.Call, argument: ast.expr) -> str | None:
    """The text that a test around the call has found the argument equal to: `if path == ":memory:"`."""
    said = ast.dump(argument)
    inner: ast.AST = call
    for outer in view.around(call):
        match outer:
            case ast.If(test=ast.Compare(left=left, ops=[operator], comparators=[right])):
                equal = {ast.Eq: outer.body, ast.NotEq: outer.orelse}.get(type(operator), [])
                sides = [ast.dump(left), ast.dump(right)]
                if inner in equal and said in sides and not _rebound(equal, argument):
                    return text_of(right if sides[0] == said else left, view.scope)
        inner = outer
    return None


def _rebound(suite: Sequence[ast.stmt], argument: ast.expr) -> bool:
    name = argument.id if isinstance(argument, ast.Name) else ""
    stored = (n for part in suite for n in ast.walk(part) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
    return any(node.id == name for node in stored)


def only_sends(view: FunctionView, key: Key, verbs: Collection[Verb], *, commits: bool = False) -> bool:
    """Whether the function keeps the connection to itself and every statement it sends is known to be one of those;
    `commits`: it may commit them, too.
    """
    given = [call for call, facts in view.calls() if key in facts.passed]
    if not all(view.is_external(call.func, "contextlib.closing") for call in given):
        return False
    effects = (Effect.EXECUTE, Effect.SCRIPT) if commits else (Effect.EXECUTE, Effect.SCRIPT, Effect.COMMIT)
    sent = [op for _, op in view.ops(key) if op.effect in effects]
    return bool(sent) and all(op.effect is Effect.EXECUTE and op.statement.verb in verbs for op in sent)


def only_reads(view: FunctionView, op: Op) -> bool:
    """Whether the connection ends with the function, and every statement on it is known to read."""
    return not view.outlives(op.handle, op.key) and only_sends(view, op.key, (Verb.READ,))


def writes_somewhere(module: ModuleView) -> bool:
    """Whether the module also opens a SQLite database to do more than read."""
    return not module.is_script and any(
        op.opens
        and bool(op.spec.locked_error)
        and not only_reads(view, op)
        and place_of(view, call) in (Place.SHARED, Place.UNKNOWN)
        for view in module.functions
        for call, op in view.ops()
    )


def is_private(module: ModuleView, key: Key) -> bool:
    """Whether every opening of the connection in the module is of a memory database that no other connection sees."""
    openings = openings_of(module, key)
    return bool(openings) and all(
        place_of(view, call) is Place.MEMORY and "cache=shared" not in ast.unparse(call) for view, call in openings
    )


def openings_of(module: ModuleView, key: Key) -> list[tuple[FunctionView, ast.Call]]:
    """The calls of the module that open the connection."""
    return [(view, call) for view in module.functions for call, op in view.ops(key) if op.opens]


def places_of(module: ModuleView, key: Key) -> frozenset[Place]:
    """What is known of the databases that the connection is opened on in the module; empty when it is not."""
    return frozenset(place_of(view, call) for view, call in openings_of(module, key))


def is_concurrent(module: ModuleView) -> bool:
    """Whether the module itself runs threads or serves requests, as far as its imports tell."""
    return bool({name.partition(".")[0] for name in module.index.imported}.intersection(_CONCURRENT))


def has_threads(module: ModuleView) -> bool:
    """Whether the module runs threads or processes, or serves requests in them: code that never waits for anything else
    is interrupted there, and not by other tasks of an event loop.
    """
    return bool({name.partition(".")[0] for name in module.index.imported}.intersection(_THREADED))


def _is_temporary(view: FunctionView, node: ast.expr, depth: int = 0) -> bool:
    """Whether the path comes from `tempfile`, or is named as temporary."""
    if depth > 4:
        return False
    for part in ast.walk(node):
        match part:
            case ast.Name(id=name):
                if any(word in name.lower() for word in _TEMPORARY_WORDS) or _bound_to_temporary(view, name, depth):
                    return True
            case ast.Attribute(attr=name) if any(word in name.lower() for word in _TEMPORARY_WORDS):
                return True
            case ast.Call(func=func) if _is_tempfile(view, func):
                return True
    return False


def _is_tempfile(view: FunctionView, func: ast.expr) -> bool:
    values = view.resolver.evaluate(func, view.scope)
    return any(isinstance(value, External) and value.dotted.startswith("tempfile.") for value in values)


def _bound_to_temporary(view: FunctionView, name: str, depth: int) -> bool:
    owner = view.scope.find(name)
    bindings: list[Binding] = owner.bindings[name] if owner is not None else []
    return any(
        binding.value is not None and _is_temporary(view, binding.value, depth + 1)
        for binding in bindings
        if binding.kind in (BindKind.VALUE, BindKind.WITH)
    )
