"""Questions about sessions: who closes and who uses one that is handed in, and which database a module speaks of."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from dbsafety.drivers.spec import Effect, HandleKind
from dbsafety.facts.scopes import Binding, BindKind, FunctionInfo, ModuleIndex
from dbsafety.flow.graph import StepKind
from dbsafety.model.finding import Confidence
from dbsafety.typestate.automaton import Tx
from dbsafety.typestate.ops import Op
from dbsafety.typestate.parameters import argument_for, default_of
from dbsafety.typestate.report import End, Swallow, last_statement
from dbsafety.typestate.values import Function, Handle, Key, handles
from dbsafety.views.view import FunctionView, ModuleView

_POSTGRESQL = frozenset({"postgresql", "postgres", "psycopg", "psycopg2", "asyncpg", "pg8000", "aiopg"})
_OTHERS = frozenset(
    {
        *("aiomysql", "asyncmy", "mariadb", "mysql", "mysqlclient", "mysqldb", "pymysql"),
        *("aiosqlite", "sqlite", "sqlite3", "cx_oracle", "oracle", "oracledb", "mssql", "pymssql", "pyodbc"),
    }
)
_MAKERS = frozenset({"create_engine", "create_async_engine"})
_SQLITE = frozenset({"aiosqlite", "sqlite", "sqlite3"})
_OF_POSTGRESQL = re.compile(
    r"\bpg_[a-z]\w*\s*\(|\bpg_(?:catalog|class|stat\w*|tables|type)\b|::(?:jsonb?|reg\w+|text|uuid)\b"
)
"""Functions, catalogues and casts that only PostgreSQL has."""


def goes_on_after_errors(module: ModuleView) -> bool:
    """Whether all databases that the module speaks of go on in a transaction one of whose statements has failed.

    Where it speaks of none, those of the modules that it imports and that make the engines.
    """
    spoken = databases_of(module) or frozenset().union(*map(_spoken_in, _engine_makers(module)))
    return bool(spoken & _OTHERS) and not spoken & _POSTGRESQL


def speaks_of_sqlite(module: ModuleView) -> bool:
    """Whether SQLite is the database that the module names, and PostgreSQL is not."""
    spoken = databases_of(module)
    return bool(spoken & _SQLITE) and not spoken & _POSTGRESQL


def speaks_of_postgresql(module: ModuleView) -> bool:
    """Whether the module names PostgreSQL or a driver of it."""
    return bool(databases_of(module) & _POSTGRESQL)


def databases_of(module: ModuleView) -> frozenset[str]:
    """The databases, drivers and dialects that the module imports or names in a URL or in SQL, in lower case."""
    return _spoken_in(module.index)


def _engine_makers(module: ModuleView) -> Iterator[ModuleIndex]:
    """The modules of the project that this one imports from and that call `create_engine`."""
    own, seen = module.index, set[str]()
    for binding in (b for found in own.scope.bindings.values() for b in found if b.kind is BindKind.IMPORT):
        split = module.resolver.program.split(binding.dotted, own.path)
        if split is None or split[0].path in seen or split[0] is own:
            continue
        seen.add(split[0].path)
        calls = (call for function in split[0].functions for call in function.calls)
        if any(ast.unparse(call.func).rpartition(".")[2] in _MAKERS for call in calls):
            yield split[0]


def _spoken_in(index: ModuleIndex) -> frozenset[str]:
    bound = (b.dotted for found in index.scope.bindings.values() for b in found if b.kind is BindKind.IMPORT)
    words = {part for dotted in (*bound, *index.imported) for part in dotted.lower().split(".")}
    for node in ast.walk(index.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            scheme, separator, _ = node.value.lower().partition("://")
            words.update(scheme.split("+") if separator else ())
            words.update({"sqlite"} if "sqlite_master" in node.value.lower() else ())
            words.update({"postgresql"} if _OF_POSTGRESQL.search(node.value) else ())
    return frozenset(words & (_POSTGRESQL | _OTHERS))


def handed_in(view: FunctionView, name: str) -> bool:
    """Whether somebody makes the argument for the call and closes it afterwards.

    A framework does (FastAPI's `Depends`), or a decorator of the project that calls the function inside a `with` block.
    """
    if any(_lends(view, info, name) for info in _decorators(view)):
        return True
    parts = [default_of(view.info, name), *(a.annotation for a in view.info.parameters if a.arg == name)]
    calls = (node for part in parts if part is not None for node in ast.walk(part) if isinstance(node, ast.Call))
    return any(ast.unparse(call.func).rpartition(".")[2] == "Depends" for call in calls)


def _decorators(view: FunctionView) -> Iterator[FunctionInfo]:
    """The functions of the project that decorate this one."""
    outside = view.scope.parent or view.scope
    for decorator in view.info.decorators:
        yield from (v.info for v in view.resolver.evaluate(decorator, outside) if isinstance(v, Function))


def _lends(view: FunctionView, decorator: FunctionInfo, name: str) -> bool:
    """Whether the decorator passes what a `with` block binds for the parameter `name`."""
    decorated = decorator.parameters[0].arg if decorator.parameters else ""
    place = next((i for i, argument in enumerate(view.info.parameters) if argument.arg == name), -1)
    for block in ast.walk(decorator.node):
        if not isinstance(block, (ast.With, ast.AsyncWith)):
            continue
        bound = {item.optional_vars.id for item in block.items if isinstance(item.optional_vars, ast.Name)}
        for call in (node for part in block.body for node in ast.walk(part) if isinstance(node, ast.Call)):
            given = [*call.args[place : place + 1], *(k.value for k in call.keywords if k.arg == name)]
            called = isinstance(call.func, ast.Name) and call.func.id == decorated
            if called and place >= 0 and any(isinstance(node, ast.Name) and node.id in bound for node in given):
                return True
    return False


def is_given(view: FunctionView, key: Key) -> bool:
    """Whether somebody else made the session: it is a parameter, or the instance keeps what it was given."""
    owners = (cls for cls in view.info.module.classes if key.kind == "attr" and cls.key == key.owner)
    bindings = [binding for cls in owners for binding in cls.attributes.get(key.name, ())]
    return key.kind == "param" or (bool(bindings) and all(map(_is_of_parameter, bindings)))


def _is_of_parameter(binding: Binding) -> bool:
    function, value = binding.scope.function, binding.value
    return (
        function is not None
        and isinstance(value, ast.Name)
        and value.id in [argument.arg for argument in function.parameters]
    )


def has_callers(view: FunctionView) -> bool:
    """Whether some function of the module calls this one."""
    name = view.name.rpartition(".")[2]
    return any(info is not view.info for _, info in view.info.module.callers.get(name, ()))


def of_request(view: FunctionView, key: Key) -> bool:
    """Whether a framework keeps the session for one request and removes it at its end (Flask-SQLAlchemy)."""
    return key.kind == "global" and view.resolver.table.request_object(f"{key.owner}.{key.name}") is not None


def joins_transactions(view: FunctionView, key: Key) -> bool:
    """Whether the session is kept in a module that joins sessions to the `transaction` package, whose managers end them
    with the request or the block: by abort after an error that they see, by commit otherwise (zope.sqlalchemy).
    """
    if key.kind != "global":
        return False
    own = view.module.index
    found = [own] if own.path == key.owner else []
    for binding in own.scope.bindings.get(key.name, ()):
        split = view.resolver.program.split(binding.dotted, own.path) if binding.kind is BindKind.IMPORT else None
        found.extend([split[0]] if split is not None and split[0].path == key.owner else [])
    return any(name.split(".")[:2] == ["zope", "sqlalchemy"] for index in found for name in index.imported)


def met_by_callers(view: FunctionView, handle: Handle) -> bool:
    """Whether some caller in this module sends something on the failed session before the request ends."""
    return any(_meets(caller, handle) for caller, _ in _callers(view))


def used_by_callers(view: FunctionView, name: str) -> bool:
    """Whether some caller in this module uses the failed session on, or keeps it; also when there is no such caller."""
    known = False
    for caller, call in _callers(view):
        argument = argument_for(call, view.info, name)
        for handle in handles(caller.resolver.evaluate(argument, caller.scope)):
            known = True
            if _goes_on(caller, handle):
                return True
    return not known


def _callers(view: FunctionView) -> Iterator[tuple[FunctionView, ast.Call]]:
    """The functions of this module that call this one, with the call."""
    node = view.info.node
    called = node.name if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) else ""
    for call, info in view.info.module.callers.get(called, ()):
        caller = next((other for other in view.module.functions if other.info is info), None)
        if caller is not None and caller is not view and _means(caller, call, view):
            yield caller, call


def _means(caller: FunctionView, call: ast.Call, view: FunctionView) -> bool:
    values = caller.resolver.evaluate(call.func, caller.scope)
    return any(isinstance(value, Function) and value.info is view.info for value in values)


def _goes_on(caller: FunctionView, handle: Handle) -> bool:
    """Whether the caller meets a failed session that a called function has left behind, or leaves it behind itself."""
    search = caller.follow(handle, handle.key)
    if search.over_budget or _meets(caller, handle):
        return True
    if not caller.outlives(handle, handle.key) or (handle.key.kind == "param" and handed_in(caller, handle.key.name)):
        return False
    end = search.frame.cfg.return_end
    return any(n.step == end and n.state.tx is Tx.FAILED and n.state.by == -2 for n in search.parents)


def _meets(caller: FunctionView, handle: Handle) -> bool:
    """Whether the caller sends something on a failed session that a called function has left behind."""
    return any(sight.node.state.by == -2 for sight in caller.follow(handle, handle.key).sights)


def matters(view: FunctionView, swallow: Swallow, end: End) -> bool:
    """Whether harm follows a session's swallowed error: somebody can still use it, or the commit loses something."""
    key = swallow.subject.key
    if by_statement(view, swallow, end) and goes_on_after_errors(view.module):
        return False
    if end is End.FUNCTION:
        if key.kind == "param":
            return not handed_in(view, key.name) and used_by_callers(view, key.name)
        if of_request(view, key):
            return met_by_callers(view, swallow.subject.handle)
        return key.kind != "attr" or bool(view.spellings(key))
    if end is End.COMMIT:
        last = last_statement(swallow.paths[end])
        return swallow.dirty or last.kind is not StepKind.WITH_EXIT or not by_statement(view, swallow, end)
    return True


def sureness(view: FunctionView, swallow: Swallow, end: End, *, stated: bool) -> Confidence:
    """How sure it is that the session needs a rollback of this handler: less after a plain statement (`stated`), which
    needs one on PostgreSQL only, and less where somebody else made the session and may end it, or a transaction manager
    does.
    """
    key, confidence = swallow.subject.key, view.confidence(swallow)
    if end is End.FUNCTION and joins_transactions(view, key):
        return Confidence.LOW
    lent = end is End.FUNCTION and is_given(view, key)
    known = speaks_of_postgresql(view.module) and (key.kind != "param" or has_callers(view))
    if lent and stated and not known:
        return Confidence.LOW
    return confidence.at_most(Confidence.MEDIUM) if lent or stated else confidence


def by_statement(view: FunctionView, swallow: Swallow, end: End) -> bool:
    """Whether a plain statement failed, not a flush or a commit: other databases than PostgreSQL go on after it."""
    failing = swallow.fails.get(end)
    node = failing.node if failing is not None else None
    ops = view.frame.call(node).ops if isinstance(node, ast.Call) else ()
    return any(op.key == swallow.subject.key and op.effect is Effect.EXECUTE and _takes_text(op, node) for op in ops)


def _takes_text(op: Op, node: ast.AST | None) -> bool:
    if op.handle.kind is HandleKind.CURSOR:
        return True
    method = node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
    row = op.spec.handles[op.handle.kind].methods.get(method)
    return row is not None and row.sql is not None
