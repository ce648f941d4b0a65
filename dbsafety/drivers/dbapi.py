"""What drivers of the DB-API (PEP 249) share: the tree of exceptions, methods of cursors, aliases of names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dbsafety.drivers.spec import Effect, ErrorSpec, HandleKind, MethodSpec

NEUTRAL = MethodSpec(Effect.NEUTRAL)
FETCH = MethodSpec(Effect.FETCH)
COMMIT = MethodSpec(Effect.COMMIT)
ROLLBACK = MethodSpec(Effect.ROLLBACK)
CLOSE = MethodSpec(Effect.CLOSE)
EXECUTE = MethodSpec(Effect.EXECUTE)
UNKNOWN = MethodSpec(Effect.UNKNOWN)
AUTOCOMMIT = MethodSpec(Effect.AUTOCOMMIT)
RELEASE = MethodSpec(Effect.RELEASE)


def statement(keyword: str | None, *, many: bool = False, returns_self: bool = False) -> MethodSpec:
    """A method whose first argument, or the one named `keyword`, is the text of a statement."""
    return MethodSpec(Effect.EXECUTE, sql=0, sql_keyword=keyword, many=many, returns_self=returns_self)


def makes(kind: HandleKind, server_side: str | None = None, lends: str = "") -> MethodSpec:
    """A method that makes a handle, or lends one that must be given back by the method `lends`."""
    return MethodSpec(Effect.MAKE, returns=kind, server_side=server_side, lends=lends)


def methods(spec: MethodSpec, names: str) -> dict[str, MethodSpec]:
    """The same row for each of the names, which are separated by blanks."""
    return dict.fromkeys(names.split(), spec)


def standard_errors(module: str, warning_parent: str = "Exception") -> dict[str, ErrorSpec]:
    """The exceptions of PEP 249 under `module`.

    InterfaceError and Warning are raised by the client alone: no sent statement fails with them (fact B1b).
    """
    error, database = f"{module}.Error", f"{module}.DatabaseError"
    below = "DataError IntegrityError InternalError NotSupportedError OperationalError ProgrammingError"
    return {
        f"{module}.Warning": ErrorSpec((warning_parent,), aborts=False),
        error: ErrorSpec(("Exception",), covers=True),
        f"{module}.InterfaceError": ErrorSpec((error,), aborts=False),
        database: ErrorSpec((error,), covers=True),
        **{f"{module}.{name}": ErrorSpec((database,)) for name in below.split()},
    }


def moved(names: Iterable[str], to: str, *modules: str) -> Mapping[str, str]:
    """Aliases for names of the module `to` that can also be reached through the other `modules`."""
    known = tuple(names)
    return {f"{module}.{name}": f"{to}.{name}" for module in modules for name in known}


def last_part(dotted: str) -> str:
    """The name after the last dot."""
    return dotted.rpartition(".")[2]
