"""The vocabulary in which a driver is described: plain data, no analysis.

A driver table says which names make handles, what each method of a handle does to the transaction, which errors exist
and what a failed statement leaves behind. The engine knows no driver by name: all it knows is read off these values,
and every row is compared with the installed module (`tests/contract/test_drivers_live.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class HandleKind(Enum):
    """What sort of object a handle is."""

    __hash__ = object.__hash__

    CONNECTION = "connection"
    CURSOR = "cursor"
    POOL = "pool"
    TRANSACTION = "transaction"
    """A block manager made by a connection (`conn.transaction()`), not the connection itself."""
    FACTORY = "factory"
    """An object whose call or `connect()` makes connections (SQLAlchemy engine, session maker)."""


class Effect(Enum):
    """What a method or function does to the transaction of its connection."""

    __hash__ = object.__hash__

    NEUTRAL = "neutral"
    """Nothing, and it cannot fail with a database error."""
    EXECUTE = "execute"
    """Sends a statement; it may fail with a database error."""
    SCRIPT = "script"
    """Sends several statements after committing pending work (sqlite3 `executescript`, fact C8a)."""
    FETCH = "fetch"
    """Reads rows already asked for; its errors are client-side and do not abort (fact B15)."""
    ASK = "ask"
    """Sends a SELECT that the library has built: seen in a failed transaction, but not expected to fail by itself."""
    COMMIT = "commit"
    ROLLBACK = "rollback"
    CLOSE = "close"
    RELEASE = "release"
    """Gives the connection in its first argument back to the pool, which ends the transaction (fact B4e)."""
    BEGIN = "begin"
    """Opens a transaction explicitly."""
    MAKE = "make"
    """Makes another handle (`conn.cursor()`, `pool.getconn()`, `conn.transaction()`)."""
    AUTOCOMMIT = "autocommit"
    """Switches the autocommit mode; how is told by `DriverSpec.autocommit`."""
    UNKNOWN = "unknown"
    """May do anything: the engine stops tracking."""


@dataclass(frozen=True, slots=True)
class MethodSpec:
    """One method of a handle.

    `returns` is the kind of handle it returns, None for anything else. `returns_self` marks methods that return their
    own receiver (`cursor.execute` of sqlite3 and psycopg 3). `sql` is the position of the SQL text among the
    arguments, `sql_keyword` its keyword name. `is_async` means that the call must be awaited to have its effect.
    `many` marks a method that runs its statement once for each set of parameters. `server_side` is the parameter
    (also the first positional one) that, when given, makes a server-side cursor: there FETCH sends statements too,
    whose errors abort (fact B15). `enters` is the kind of handle that a block on the result binds, None for the result
    itself (`engine.begin()` binds a connection). `savepoint` marks a BEGIN that opens a savepoint (`begin_nested`).
    `lends` marks a method whose connection must be given back: by that method of the pool (`putconn`), or by `close` of
    the connection. `raw` marks a connection of another driver, whose statements are not followed.
    `rolls_back` marks a method that ends the transaction by a rollback before it does its own work (psycopg2's
    `set_isolation_level`). `writes` marks one that changes rows without a text, at once or with the next flush.
    """

    effect: Effect
    returns: HandleKind | None = None
    returns_self: bool = False
    sql: int | None = None
    sql_keyword: str | None = None
    is_async: bool = False
    many: bool = False
    server_side: str | None = None
    enters: HandleKind | None = None
    savepoint: bool = False
    rolls_back: bool = False
    writes: bool = False
    lends: str = ""
    raw: bool = False


@dataclass(frozen=True, slots=True)
class WithSpec:
    """What leaving `with handle:` does to the connection.

    `success` and `error` are COMMIT, ROLLBACK, CLOSE, RELEASE or NEUTRAL. `closes` says whether the handle itself is
    closed (psycopg 3 and aiosqlite: yes; psycopg2 and sqlite3 connections: no, facts B4a, C3a); leaving a cursor's
    block closes the cursor and nothing else (fact B4b). `begins` says that entering opens a transaction, even in
    autocommit mode (fact B4d). `swallows` are dotted names of exceptions that end the block with `error` and go no
    further.
    """

    success: Effect
    error: Effect
    closes: bool = False
    begins: bool = False
    is_async: bool = False
    swallows: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class HandleSpec:
    """One kind of handle of a driver.

    `classes` are the dotted names under which the class can be named (annotations, `isinstance`); `async_classes` are
    those whose methods of the same names are coroutines and whose blocks are `async with`. The method `__call__` is the
    call of the handle itself (a session maker's). `methods` and
    `attributes` are keyed by name; an attribute's value is the kind of handle it holds (`cursor.connection`) or None.
    A method that is absent from the table is UNKNOWN only if `open_ended`; otherwise it is NEUTRAL.
    """

    kind: HandleKind
    classes: tuple[str, ...]
    methods: Mapping[str, MethodSpec]
    attributes: Mapping[str, HandleKind | None] = field(default_factory=dict)
    with_block: WithSpec | None = None
    open_ended: bool = False
    async_classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RequestSpec:
    """What an object of another package keeps for each request and takes back at its end.

    `kind` is the kind of handle, `of` the dotted name of the connection behind it, that name itself for a connection.
    """

    kind: HandleKind
    of: str


@dataclass(frozen=True, slots=True)
class ConstructorSpec:
    """A callable, by dotted name, that makes a handle.

    `positions` maps positional index to parameter name for the parameters rules ask about (`timeout`, `dsn` ...).
    `is_async` means that the result must be awaited (it may also be used as an async context manager). `autocommit` is
    the mode that this callable gives its connection, None for the driver's default (user-declared wrappers).
    `keywords` are such parameters that go by keyword only.
    """

    kind: HandleKind
    positions: Mapping[int, str] = field(default_factory=dict)
    keywords: frozenset[str] = frozenset()
    is_async: bool = False
    autocommit: bool | None = None


@dataclass(frozen=True, slots=True)
class FunctionSpec:
    """A module-level function that acts on a handle (`psycopg2.extras.execute_values`).

    `handle` is the position of the handle among the arguments, None for a function that has no handle or acts on the
    driver's module-level object (Django's `transaction.commit()`); `sql` the position of the SQL text.
    """

    effect: Effect
    handle: int | None = 0
    sql: int | None = None


@dataclass(frozen=True, slots=True)
class ErrorSpec:
    """One exception class: `parents` by dotted name; `aborts` says whether a statement that fails with it leaves the
    transaction aborted or open (False for client-side errors that no sent statement raises, fact B1b).

    `covers` says that it catches every error a statement can fail with (`Error`, `DatabaseError`).
    """

    parents: tuple[str, ...]
    aborts: bool = True
    covers: bool = False


@dataclass(frozen=True, slots=True)
class ErrorText:
    """A fixed part of what a server says when a statement fails, in lower case.

    `code` tells the same (SQLSTATE, or the name of SQLite's constant), "" when nothing else does; `name` is the
    exception class of that code, if it has one; `since` the version of Python from which on the code can be asked for.
    """

    text: str
    code: str = ""
    name: str = ""
    since: tuple[int, int] | None = None


class Switch(Enum):
    """Where a mode is set."""

    ATTRIBUTE = "attribute"
    KEYWORD = "keyword"
    METHOD = "method"


@dataclass(frozen=True, slots=True)
class AutocommitSwitch:
    """One way to choose the autocommit mode (fact B5a).

    ATTRIBUTE: assigning `name`. KEYWORD: passing `name` to a constructor. METHOD: calling `name` with the keyword
    `keyword` or positional `position`. A constant in `on` switches it on, one in `off` switches it off, anything else
    is unknown. Constants are Python values or dotted names of driver constants; an absent METHOD argument changes
    nothing.
    """

    by: Switch
    name: str
    on: tuple[object, ...]
    off: tuple[object, ...]
    keyword: str | None = None
    position: int | None = None


@dataclass(frozen=True, slots=True)
class DriverSpec:
    """Everything the engine knows about one driver.

    `name` is the import name used in rule metadata. `roots` are the top-level modules whose import makes a file
    relevant. `aborts`: a failed statement leaves the transaction aborted, so that every later statement fails and a
    commit is a silent rollback (PostgreSQL, facts B1a, B2). `keeps_lock`: a failed write leaves the transaction open
    with its lock (SQLite, fact C5a). `begins_on_read`: a SELECT also opens a transaction. `default_autocommit`: no
    transaction unless opened (asyncpg). `constants` maps dotted constant names to values. `aliases` maps alternative
    dotted names to the one used in this table. `aborted_error` is the driver's own text for a statement in an aborted
    transaction; `server` is the database's name in messages. `closed_attributes` are attributes of a connection that
    tell whether it is closed, `status_attributes` paths that tell the state of its transaction (fact B1c: `status` of
    psycopg2 is none). `sql_wrappers` are callables whose first argument is the SQL text. `objects` are module-level
    handles by dotted name, `containers` module-level mappings of handles (`django.db.connections["default"]`).

    `deferred_begin`: a plain BEGIN takes no lock, so that a write behind a read may fail at once, whatever the timeout
    (facts C2a, C2f; set where it was observed). `thread_check` is the parameter of the constructor that, when False,
    lets every thread use the connection (fact C6a).

    `errors` holds every class a statement may fail with, also another driver's (aiosqlite raises sqlite3's).
    `commit_fails_open`: a commit that fails leaves a transaction that must still be rolled back (a session whose flush
    failed, fact B10a); the others have rolled back by then (fact B1d). `family` names the rule that speaks for errors
    swallowed with this driver instead of DBS101, DBS102, DBS103 and DBS107. `exhausted_error` is the beginning of
    what a pool says when all its connections are out (facts B4e, B4f). `connect_keyword` is the
    keyword that limits how long opening may take, `connect_limit` the seconds after which it ends without that (None:
    never, fact B11a), `connect_unlimited` are keywords with which opening returns at once and the limit has no effect.
    `rollback_in_autocommit`: rollback() undoes what was sent in autocommit mode; `rollback_after_begin`: in that mode
    it ends a transaction that a BEGIN as text has opened (psycopg2 sends nothing then, fact B3b; C6b).
    `told_by_name` says that a parameter is taken for a handle of the driver by its name alone. `error_texts` are what
    the server says. `code_attributes` are the attributes of an error that tell its code, the one to use first; of an
    error that wraps the driver's own (`family`) the attribute that holds that one. `constraint_attribute` is the path
    of the name of the constraint that a row violates. `kin` maps names by which other packages offer the same things,
    or a subclass that differs in nothing that matters, to the names of this table.
    `request_objects` are what objects of other packages keep for each request, by class and attribute
    (`flask_sqlalchemy.SQLAlchemy.session`): wherever such an object is made, its session is one and the same.
    `sends` are methods of objects that are not followed (models, query sets)
    which send statements and have no savepoint of their own. `translates` maps a class of PEP 249 ("IntegrityError") to
    the one that is raised in place of any driver's error of that class; it is empty where the driver's own comes out.
    """

    name: str
    roots: tuple[str, ...]
    constructors: Mapping[str, ConstructorSpec]
    handles: Mapping[HandleKind, HandleSpec]
    errors: Mapping[str, ErrorSpec]
    base_error: str
    aborts: bool
    keeps_lock: bool
    begins_on_read: bool
    server: str
    functions: Mapping[str, FunctionSpec] = field(default_factory=dict)
    autocommit: tuple[AutocommitSwitch, ...] = ()
    default_autocommit: bool = False
    with_begins_in_autocommit: bool = False
    rollback_in_autocommit: bool = True
    rollback_after_begin: bool = True
    is_async: bool = False
    constants: Mapping[str, object] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    aborted_error: str = ""
    locked_error: str = ""
    deferred_begin: bool = False
    thread_check: str = ""
    closed_attributes: tuple[str, ...] = ()
    status_attributes: tuple[str, ...] = ()
    sql_wrappers: tuple[str, ...] = ()
    objects: Mapping[str, HandleKind] = field(default_factory=dict)
    containers: Mapping[str, HandleKind] = field(default_factory=dict)
    commit_fails_open: bool = False
    family: str = ""
    told_by_name: bool = True
    kin: Mapping[str, str] = field(default_factory=dict)
    request_objects: Mapping[str, RequestSpec] = field(default_factory=dict)
    sends: frozenset[str] = frozenset()
    exhausted_error: str = ""
    connect_keyword: str = ""
    connect_limit: int | None = None
    connect_unlimited: frozenset[str] = frozenset()
    error_texts: tuple[ErrorText, ...] = ()
    code_attributes: tuple[str, ...] = ()
    constraint_attribute: str = ""
    translates: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WrapperSetting:
    """A callable of a project that the user declares to make a handle of a driver.

    `factory` is its dotted name (`app.db.get_connection`), `driver` the name of the driver's table, `returns` the kind
    of handle. `autocommit` tells the mode of what it makes, None when it is the driver's own default.
    """

    factory: str
    driver: str
    returns: HandleKind = HandleKind.CONNECTION
    autocommit: bool | None = None
