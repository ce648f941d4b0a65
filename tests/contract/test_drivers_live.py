"""Every row of every driver table against the installed module: names, parents, methods, signatures."""

from __future__ import annotations

import asyncio
import builtins
import importlib
import inspect
import sqlite3
import sys
from collections.abc import Iterator

import pytest
import sqlalchemy
import sqlalchemy.orm
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db.utils import ConnectionDoesNotExist

from dbsafety.drivers.spec import DriverSpec, HandleKind, HandleSpec, MethodSpec, Switch
from dbsafety.drivers.table import FULL_TABLE

if not settings.configured:
    settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})

DRIVERS = [pytest.param(spec, id=spec.name) for spec in FULL_TABLE.drivers]
HANDLES = [
    pytest.param(spec, handle, id=f"{spec.name}-{handle.kind.value}")
    for spec in FULL_TABLE.drivers
    for handle in spec.handles.values()
]
PYTHON, SQLALCHEMY = sys.version_info[:2], tuple(int(part) for part in sqlalchemy.__version__.split(".")[:2])
SINCE = {
    "sqlite3.LEGACY_TRANSACTION_CONTROL": PYTHON >= (3, 12),
    "sqlite3.Connection.autocommit": PYTHON >= (3, 12),
    "sqlite3.Connection.getconfig": PYTHON >= (3, 12),
    "sqlite3.Connection.setconfig": PYTHON >= (3, 12),
    "sqlite3.Connection.blobopen": PYTHON >= (3, 11),
    "sqlite3.Connection.create_window_function": PYTHON >= (3, 11),
    "sqlite3.Connection.deserialize": PYTHON >= (3, 11),
    "sqlite3.Connection.getlimit": PYTHON >= (3, 11),
    "sqlite3.Connection.serialize": PYTHON >= (3, 11),
    "sqlite3.Connection.setlimit": PYTHON >= (3, 11),
    "sqlalchemy.exc.AmbiguousColumnError": SQLALCHEMY >= (2, 1),
    "sqlalchemy.exc.EmulatedDBAPIException": SQLALCHEMY >= (2, 1),
    "sqlalchemy.exc.NoDBAPILoaded": SQLALCHEMY >= (2, 1),
    "sqlalchemy.engine.Connection.delete_all": SQLALCHEMY >= (2, 1),
    "sqlalchemy.engine.Connection.get_async_bind": SQLALCHEMY >= (2, 1),
    "sqlalchemy.engine.Connection.merge_all": SQLALCHEMY >= (2, 1),
    "sqlalchemy.engine.Transaction.bound_connection": SQLALCHEMY >= (2, 1),
}
"""Names that came with a version of Python or of the module; methods under the first class of their kind."""
BUILD_DEPENDENT = {"sqlite3.Connection.enable_load_extension", "sqlite3.Connection.load_extension"}
"""Names that depend on how Python was built."""
NEUTRAL_BY_ABSENCE = {
    "sqlalchemy.orm.sessionmaker": "close_all",  # until 2.0
    "sqlite3.Connection": "__call__",
    "django.db.transaction.Atomic": "__call__",
    **dict.fromkeys(
        ("psycopg2.extras.LoggingConnection", "psycopg2.extras.MinTimeLoggingConnection"), "filter initialize"
    ),
    **dict.fromkeys(
        (f"psycopg_pool.{kind}ConnectionPool" for kind in ("", "Null", "Async", "AsyncNull")),
        "run_task schedule_task worker",
    ),
}
"""Public methods that have no row: internals of a pool, and what one class among many adds."""
SET_BY_INIT = {
    "psycopg.Connection.pgconn",
    "psycopg.AsyncConnection.pgconn",
    "django.db.backends.base.base.BaseDatabaseWrapper.in_atomic_block",
    "django.db.backends.base.base.BaseDatabaseWrapper.needs_rollback",
}
"""Attributes of instances that classes do not show; tests/drivers sees them."""
DELEGATED = {
    f"django.db.backends.utils.CursorWrapper.{name}" for name in ("close", "fetchall", "fetchmany", "fetchone")
} | {"sqlalchemy.engine.Connection.exec"}
"""Methods that an instance passes on to another object (tests/drivers sees them), or that sqlmodel adds."""
NO_DATABASE_ERRORS = {asyncio.CancelledError, ImproperlyConfigured, ConnectionDoesNotExist}
"""What the exception modules import from elsewhere, or raise about settings."""
EXCEPTION_MODULES = {
    "psycopg2": ("psycopg2", "psycopg2.errors", "psycopg2.extensions", "psycopg2.pool"),
    "psycopg": ("psycopg", "psycopg.errors", "psycopg_pool"),
    "sqlite3": ("sqlite3",),
    "aiosqlite": ("aiosqlite",),
    "asyncpg": ("asyncpg", "asyncpg.exceptions"),
    "sqlalchemy": ("sqlalchemy.exc",),
    "django": ("django.db", "django.db.utils", "django.db.transaction"),
}


def known_here(dotted: str) -> bool:
    return SINCE.get(dotted, True)


def resolve(dotted: str) -> object:
    """The object a dotted name means. Raises AttributeError or ImportError when there is none."""
    if "." not in dotted:
        return getattr(builtins, dotted)
    module, names = dotted, []
    while True:
        module, _, name = module.rpartition(".")
        names.insert(0, name)
        try:
            found: object = importlib.import_module(module)
            break
        except ModuleNotFoundError:
            if "." not in module:
                raise
    for name in names:
        found = getattr(found, name)
    return found


def dotted_names(spec: DriverSpec) -> Iterator[str]:
    yield from spec.constructors
    yield from spec.functions
    yield from spec.errors
    yield from spec.constants
    yield from spec.objects
    yield from spec.containers
    yield from spec.sql_wrappers
    for handle in spec.handles.values():
        yield from handle.classes
        yield from handle.async_classes
    for switch in spec.autocommit:
        yield from (value for value in (*switch.on, *switch.off) if isinstance(value, str) and "." in value)


def classes_of(handle: HandleSpec) -> list[tuple[str, type]]:
    found = [(name, resolve(name)) for name in (*handle.classes, *handle.async_classes)]
    return [(name, cls) for name, cls in found if isinstance(cls, type)]


@pytest.mark.parametrize("spec", DRIVERS)
def test_every_dotted_name_exists(spec: DriverSpec) -> None:
    missing = []
    for name in sorted(set(dotted_names(spec))):
        try:
            resolve(name)
        except (AttributeError, ImportError):
            if known_here(name):
                missing.append(name)
        else:
            if not known_here(name):
                missing.append(f"{name} exists although it came later")
    assert missing == []


@pytest.mark.parametrize("spec", DRIVERS)
def test_constants_have_their_values(spec: DriverSpec) -> None:
    real = {name: resolve(name) for name in spec.constants if known_here(name)}
    assert real == {name: spec.constants[name] for name in real}


@pytest.mark.parametrize("spec", DRIVERS)
def test_aliases_mean_the_same_object(spec: DriverSpec) -> None:
    different = [old for old, new in spec.aliases.items() if resolve(old) is not resolve(new)]
    assert different == []


@pytest.mark.parametrize("spec", DRIVERS)
def test_errors_have_the_parents_of_the_table(spec: DriverSpec) -> None:
    wrong = []
    for name, row in spec.errors.items():
        if not known_here(name):
            continue
        cls = resolve(name)
        assert isinstance(cls, type)
        if cls.__bases__ != tuple(resolve(parent) for parent in row.parents):
            wrong.append((name, cls.__bases__))
    assert wrong == []


@pytest.mark.parametrize("spec", DRIVERS)
def test_no_public_exception_is_missing(spec: DriverSpec) -> None:
    listed = {resolve(name) for name in spec.errors if known_here(name)}
    missing = [
        f"{module}.{name}"
        for module in EXCEPTION_MODULES[spec.name]
        for name, value in vars(importlib.import_module(module)).items()
        if not name.startswith("_") and isinstance(value, type) and issubclass(value, BaseException)
        if value not in listed and value not in NO_DATABASE_ERRORS and not issubclass(value, Warning)
    ]
    assert missing == []


@pytest.mark.parametrize("spec", DRIVERS)
def test_covering_errors_cover(spec: DriverSpec) -> None:
    def cls(name: str) -> type:
        found = resolve(name)
        assert isinstance(found, type)
        return found

    covering = [name for name, row in spec.errors.items() if row.covers]
    assert spec.base_error in covering
    outside = [
        (name, cover)
        for cover in covering
        for name, row in spec.errors.items()
        if known_here(name)
        and row.aborts
        and not issubclass(cls(name), cls(cover))
        and not issubclass(cls(cover), cls(name))
    ]
    assert outside == []


@pytest.mark.parametrize(("spec", "handle"), HANDLES)
def test_every_public_method_has_a_row(spec: DriverSpec, handle: HandleSpec) -> None:
    missing, invented = [], set(handle.methods)
    for name, cls in classes_of(handle):
        real = {attr for attr in dir(cls) if not attr.startswith("_") and is_method(cls, attr)}
        real |= {"__call__"} if any("__call__" in vars(base) for base in cls.__mro__) else set()
        known = {*handle.methods, *NEUTRAL_BY_ABSENCE.get(name, "").split()}
        missing += sorted(f"{name}.{attr}" for attr in real - known)
        invented -= real
    assert missing == []
    first = next(iter((*handle.classes, *handle.async_classes)), "")
    names = {f"{first}.{attr}" for attr in invented}
    assert {name for name in names - BUILD_DEPENDENT - DELEGATED if known_here(name)} == set()


def is_method(cls: type, name: str) -> bool:
    value = inspect.getattr_static(cls, name)
    if isinstance(value, (staticmethod, classmethod)):
        return name not in CONSTRUCTING
    return callable(value) and not isinstance(value, type)


CONSTRUCTING = {"connect"}
"""Class methods that make an instance: rows of the constructors."""


@pytest.mark.parametrize(("spec", "handle"), HANDLES)
def test_attributes_exist(spec: DriverSpec, handle: HandleSpec) -> None:
    wanted = set(handle.attributes)
    if handle.kind is HandleKind.CONNECTION:
        wanted |= {switch.name for switch in spec.autocommit if switch.by is Switch.ATTRIBUTE}
        wanted |= {path.partition(".")[0] for path in (*spec.closed_attributes, *spec.status_attributes)}
    classes = classes_of(handle)
    missing = {
        f"{classes[0][0]}.{attr}"
        for attr in wanted
        if classes and not any(hasattr(cls, attr) for _, cls in classes) and known_here(f"{classes[0][0]}.{attr}")
    }
    assert missing - SET_BY_INIT == set()


def python_methods() -> Iterator[tuple[str, str, MethodSpec, object, bool]]:
    for spec in FULL_TABLE.drivers:
        for handle in spec.handles.values():
            for name in (*handle.classes, *handle.async_classes):
                for method, row in handle.methods.items():
                    found = getattr(resolve(name), method, None)
                    if inspect.isfunction(found):
                        yield name, method, row, found, name in handle.async_classes


@pytest.mark.parametrize("position", ["sql", "server_side"])
def test_statement_and_name_stand_where_the_table_says(position: str) -> None:
    wrong = []
    for name, method, row, function, _ in python_methods():
        keyword = row.sql_keyword if position == "sql" else row.server_side
        place = row.sql if position == "sql" else 0
        if keyword is None:
            continue
        parameters = list(inspect.signature(function).parameters)[1:]
        if parameters[place or 0] not in (keyword, "args"):
            wrong.append(f"{name}.{method}{tuple(parameters)}: {keyword}")
    assert wrong == []


CONSTRUCTORS = [
    pytest.param(name, dict(row.positions), id=name)
    for spec in FULL_TABLE.drivers
    for name, row in spec.constructors.items()
    if row.positions
]


@pytest.mark.filterwarnings("ignore:Passing more than 1 positional argument:DeprecationWarning")
@pytest.mark.parametrize(("name", "positions"), CONSTRUCTORS)
def test_constructor_parameters_stand_where_the_table_says(name: str, positions: dict[int, str]) -> None:
    made = resolve(name)
    try:
        parameters = list(inspect.signature(made).parameters.values())
    except ValueError:
        assert clashes(made, positions) == positions
        return
    for place, parameter in positions.items():
        if place < len(parameters) and parameters[place].kind is not inspect.Parameter.VAR_POSITIONAL:
            assert parameters[place].name == parameter
            assert parameters[place].kind is not inspect.Parameter.KEYWORD_ONLY
        else:  # passed on to `psycopg2.connect` or `Session`
            assert any(kind.kind is inspect.Parameter.VAR_POSITIONAL for kind in parameters)


@pytest.mark.parametrize(
    ("name", "keyword"),
    [
        pytest.param(name, keyword, id=f"{name}-{keyword}")
        for spec in FULL_TABLE.drivers
        for name, row in spec.constructors.items()
        for keyword in sorted(row.keywords)
    ],
)
def test_keywords_of_constructors_are_accepted(name: str, keyword: str) -> None:
    parameters = inspect.signature(resolve(name)).parameters.values()
    assert any(p.name == keyword or p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)


def clashes(made: object, positions: dict[int, str]) -> dict[int, str]:
    """The positions at which the C function `made` says that a keyword meets a positional argument."""
    given = (":memory:", 5.0, 0, None, True, sqlite3.Connection, 100, False)
    found = {}
    for place, parameter in positions.items():
        told = rf"'{parameter}'\) and position \({place + 1}\)|takes at most {place + 1} arguments"
        with pytest.raises(TypeError, match=told):
            made(*given[: place + 1], **{parameter: None})
        found[place] = parameter
    return found


def test_what_is_lent_can_be_given_back() -> None:
    rows = [
        (spec, handle, name, row)
        for spec in FULL_TABLE.drivers
        for handle in spec.handles.values()
        for name, row in handle.methods.items()
        if row.lends
    ]
    assert {f"{spec.name}:{name}" for spec, _, name, _ in rows} == {
        *("psycopg2:getconn", "psycopg:getconn", "sqlalchemy:raw_connection", "sqlalchemy:connect")
    }
    for spec, handle, _, row in rows:
        giver = handle if row.lends != "close" else spec.handles[HandleKind.CONNECTION]
        assert row.lends in giver.methods


@pytest.mark.parametrize(
    ("module", "driver"),
    [("psycopg2.pool", "psycopg2"), ("psycopg_pool.pool", "psycopg"), ("sqlalchemy.pool.impl", "sqlalchemy")],
)
def test_an_exhausted_pool_says_what_the_table_says(module: str, driver: str) -> None:
    text = next(spec.exhausted_error for spec in FULL_TABLE.drivers if spec.name == driver)
    assert text in inspect.getsource(importlib.import_module(module))


@pytest.mark.parametrize("spec", [spec for spec in FULL_TABLE.drivers if spec.connect_keyword], ids=lambda s: s.name)
def test_the_limit_to_opening_is_a_keyword_of_connect(spec: DriverSpec) -> None:
    assert spec.connect_keyword in spec.constructors[f"{spec.name}.connect"].keywords


@pytest.mark.parametrize("name", sorted(next(s for s in FULL_TABLE.drivers if s.name == "sqlalchemy").translates))
def test_a_session_raises_the_class_of_the_table_instead_of_the_drivers(name: str) -> None:
    layer = next(spec for spec in FULL_TABLE.drivers if spec.name == "sqlalchemy")

    def fail(*_: object) -> None:
        raise getattr(sqlite3, name)("from the driver")

    engine = sqlalchemy.create_engine("sqlite://")
    sqlalchemy.event.listen(engine, "do_execute", fail)
    with sqlalchemy.orm.Session(engine) as session, pytest.raises(sqlalchemy.exc.DBAPIError) as caught:
        session.execute(sqlalchemy.text("SELECT 1"))
    assert f"{type(caught.value).__module__}.{type(caught.value).__name__}" == layer.translates[name]
    assert isinstance(caught.value.orig, getattr(sqlite3, name))
    assert not isinstance(caught.value, sqlite3.Error)
