"""What an expression may be: handles with the key of their connection, and the project objects that lead to them."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple, Protocol, TypeAlias

from dbsafety.drivers.spec import DriverSpec, HandleKind
from dbsafety.drivers.table import DriverTable
from dbsafety.facts.program import Program
from dbsafety.facts.scopes import ClassInfo, FunctionInfo, Scope
from dbsafety.model.finding import Confidence


class Key(NamedTuple):
    """Identity of a connection object.

    `kind` is "local" (a variable of the function `owner`), "param", "attr" (attribute of the class `owner`), "global"
    (variable of the module `owner`), "site" (an allocation that no name holds) or "borrowed" (a variable whose origin
    is unknown).
    """

    kind: str
    owner: str
    name: str

    @property
    def persistent(self) -> bool:
        """Whether the object lives on when the function that uses it returns."""
        return self.kind in ("attr", "global")


class Mode(Enum):
    """Whether the connection was made to commit by itself."""

    __hash__ = object.__hash__

    TRANSACTION = "transaction"
    AUTOCOMMIT = "autocommit"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Handle:
    """A connection, cursor, pool or transaction object; `key` is that of the connection behind it.

    `enters` is the kind of handle that a block on it binds, None for the handle itself (a transaction binds nothing).
    `savepoint` marks a transaction inside another, `server_side` a cursor whose rows stay on the server, so that a
    fetch sends a statement (fact B15).
    """

    driver: str
    kind: HandleKind
    key: Key
    mode: Mode = Mode.TRANSACTION
    confidence: Confidence = Confidence.HIGH
    pooled: bool = False
    enters: HandleKind | None = None
    savepoint: bool = False
    server_side: bool = False

    def moved(self, key: Key) -> Handle:
        """The same handle under another key."""
        return replace(self, key=key)


@dataclass(frozen=True, slots=True)
class External:
    """A name outside the project, by canonical dotted name (builtins without a prefix).

    `near` is the file that imports it, "" for names that mean the same everywhere.
    """

    dotted: str
    near: str = ""


@dataclass(frozen=True, slots=True)
class Function:
    """A project function; `owner` is the class through whose instance it was reached."""

    info: FunctionInfo
    owner: ClassInfo | None = None


@dataclass(frozen=True, slots=True)
class Class:
    """A project class."""

    info: ClassInfo


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance of a project class."""

    info: ClassInfo


@dataclass(frozen=True, slots=True)
class Nothing:
    """The value None."""


@dataclass(frozen=True, slots=True)
class Items:
    """A tuple or list of known length."""

    items: tuple[frozenset[Value], ...]


@dataclass(frozen=True, slots=True)
class Elements:
    """A container, iterator or mapping whose elements may be these values."""

    inner: frozenset[Value]


class ManagerKind(Enum):
    """Context managers the engine understands beside handles and project classes."""

    CLOSING = "closing"
    SUPPRESS = "suppress"
    STACK = "stack"
    NULL = "null"
    GENERATOR = "generator"


@dataclass(frozen=True, slots=True)
class Manager:
    """A context manager; `inner` is what it wraps (CLOSING, NULL), `function` the generator, `call` its making."""

    kind: ManagerKind
    call: ast.Call
    scope: Scope
    inner: frozenset[Value] = frozenset()
    function: FunctionInfo | None = None


Value: TypeAlias = Handle | External | Function | Class | Instance | Nothing | Items | Elements | Manager

EMPTY: frozenset[Value] = frozenset()
LIMIT = 40
"""More values than this for one expression mean that nothing is known of it."""


class Evaluator(Protocol):
    """What the parts of the resolver ask each other."""

    table: DriverTable
    program: Program

    @property
    def exhausted(self) -> int:
        """How many budgets were hit."""

    def evaluate(self, node: ast.expr | None, scope: Scope) -> frozenset[Value]:
        """What `node` may be when evaluated in `scope`."""

    def dotted(self, name: str, near: str) -> frozenset[Value]:
        """What a dotted name means in the file `near`: a driver's name, a project member, or something external."""

    def attribute(self, base: Value, name: str) -> frozenset[Value]:
        """What `base.name` may be."""

    def returned(self, call: ast.Call, scope: Scope, function: Function) -> frozenset[Value]:
        """What the call of a project function may return."""

    def entered(self, values: Iterable[Value]) -> frozenset[Value]:
        """What `with value as name` binds."""

    def nested(self, value: ast.expr, attr: str, scope: Scope) -> frozenset[Value]:
        """What `value.attr` may be where nothing is known of `value` but what code assigns to it."""

    def parameter(self, function: FunctionInfo, name: str) -> frozenset[Value]:
        """What a parameter may be."""

    def is_final(self) -> bool:
        """Whether an answer that is empty so far will stay so: only then may something else take its place."""


def handles(values: Iterable[Value]) -> tuple[Handle, ...]:
    """The handles among `values`, in a fixed order."""
    return tuple(sorted((value for value in values if isinstance(value, Handle)), key=_rank))


def externals(values: Iterable[Value]) -> tuple[External, ...]:
    """The names from outside the project among `values`, in a fixed order."""
    found = [value for value in values if isinstance(value, External)]
    return tuple(sorted(found, key=lambda value: (value.dotted, value.near)))


def _rank(handle: Handle) -> tuple[object, ...]:
    told = (handle.key, handle.kind.value, handle.driver, handle.mode.value, handle.confidence.value)
    return (*told, handle.pooled, handle.savepoint, handle.server_side, handle.enters.value if handle.enters else "")


def from_other_module(value: Value) -> Value:
    """A handle found with the help of another module is known with medium confidence at most."""
    if isinstance(value, Handle):
        return replace(value, confidence=value.confidence.at_most(Confidence.MEDIUM))
    return value


def merge_modes(modes: Iterable[Mode]) -> Mode:
    """One mode when all agree, UNKNOWN otherwise."""
    distinct = set(modes)
    return distinct.pop() if len(distinct) == 1 else Mode.UNKNOWN


def spec_of(table: DriverTable, handle: Handle) -> DriverSpec:
    """The table of the handle's driver."""
    return table.driver(handle.driver)


def class_key(cls: ClassInfo, name: str) -> Key:
    """The key of an attribute."""
    return Key("attr", cls.key, name)


def scope_key(scope: Scope, name: str) -> Key:
    """The key of a variable of `scope`."""
    if scope.kind == "module":
        return Key("global", scope.module, name)
    if scope.kind == "class":
        return Key("attr", f"{scope.module}:{scope.qualname}", name)
    return Key("local", f"{scope.module}:{scope.qualname}", name)


def borrowed_key(scope: Scope, name: str) -> Key:
    """The key of a handle that came from somewhere unknown; a parameter's lives on with the caller."""
    function = scope.function
    if function is not None and name in [argument.arg for argument in function.parameters]:
        return param_key(function, name)
    return Key("borrowed", f"{scope.module}:{scope.qualname}", name)


def param_key(function: FunctionInfo, name: str) -> Key:
    """The key of a connection that came in as a parameter."""
    return Key("param", f"{function.module.path}:{function.qualname}", name)
