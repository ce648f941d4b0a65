"""The driver table: look up dotted names in all the drivers at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import TypeVar

from dbsafety.drivers.aiosqlite import AIOSQLITE
from dbsafety.drivers.asyncpg import ASYNCPG
from dbsafety.drivers.django import DJANGO
from dbsafety.drivers.psycopg import PSYCOPG
from dbsafety.drivers.psycopg2 import PSYCOPG2
from dbsafety.drivers.spec import ConstructorSpec, DriverSpec, ErrorSpec, FunctionSpec, HandleKind, RequestSpec
from dbsafety.drivers.sqlalchemy import SQLALCHEMY
from dbsafety.drivers.sqlite3 import SQLITE3

_Row = TypeVar("_Row")


class DriverTable:
    """The drivers the engine knows, by dotted name. All look-ups take canonical names and cost one dictionary access.

    Where two drivers share a name (aiosqlite raises sqlite3's errors), the first driver answers.
    """

    def __init__(self, drivers: Sequence[DriverSpec]) -> None:
        self.drivers = tuple(drivers)
        self._by_name = {spec.name: spec for spec in self.drivers}
        self._aliases = {old: new for spec in self.drivers for old, new in spec.aliases.items() if old != new}
        self._aliases.update((old, new) for spec in self.drivers for old, new in spec.kin.items())
        self._constructors = _merge((spec, spec.constructors) for spec in self.drivers)
        self._functions = _merge((spec, spec.functions) for spec in self.drivers)
        self._errors = _merge((spec, spec.errors) for spec in self.drivers)
        self._objects = _merge((spec, spec.objects) for spec in self.drivers)
        self._containers = _merge((spec, spec.containers) for spec in self.drivers)
        self._requests = _merge((spec, spec.request_objects) for spec in self.drivers)
        self._keepers = frozenset(name.rpartition(".")[0] for name in self._requests)
        self._classes = _merge((spec, dict(_classes(spec))) for spec in self.drivers)
        self._digest = ""

    def canonical(self, dotted: str) -> str:
        """The name the tables use for `dotted`, itself when it is no alias."""
        return self._aliases.get(dotted, dotted)

    def driver(self, name: str) -> DriverSpec:
        """The table of a driver by its name. Raises KeyError for an unknown one."""
        return self._by_name[name]

    def constructor(self, dotted: str) -> tuple[DriverSpec, ConstructorSpec] | None:
        """The callable of that name which makes a handle."""
        return self._constructors.get(dotted)

    def function(self, dotted: str) -> tuple[DriverSpec, FunctionSpec] | None:
        """The module-level function of that name."""
        return self._functions.get(dotted)

    def error(self, dotted: str) -> tuple[DriverSpec, ErrorSpec] | None:
        """The exception class of that name; to ask whether a given driver raises it, use `DriverSpec.errors`."""
        return self._errors.get(dotted)

    def handle_class(self, dotted: str) -> tuple[DriverSpec, HandleKind] | None:
        """What an instance of the class of that name is."""
        return self._classes.get(dotted)

    def object(self, dotted: str) -> tuple[DriverSpec, HandleKind] | None:
        """What the module-level object of that name is."""
        return self._objects.get(dotted)

    def request_object(self, dotted: str) -> tuple[DriverSpec, RequestSpec] | None:
        """What an object of another package keeps under that name for each request."""
        return self._requests.get(dotted)

    def keeps(self, dotted: str) -> bool:
        """Whether an instance of the class of that name keeps something for each request."""
        return dotted in self._keepers

    def container(self, dotted: str) -> tuple[DriverSpec, HandleKind] | None:
        """What the items of the module-level mapping of that name are."""
        return self._containers.get(dotted)

    def digest(self) -> str:
        """A fingerprint of everything in the table, the same in every process and on every Python."""
        if not self._digest:
            text = "\n".join(_plain(spec) for spec in self.drivers)
            self._digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        return self._digest


def _merge(tables: Iterator[tuple[DriverSpec, Mapping[str, _Row]]]) -> dict[str, tuple[DriverSpec, _Row]]:
    found: dict[str, tuple[DriverSpec, _Row]] = {}
    for spec, rows in tables:
        for name, row in rows.items():
            found.setdefault(name, (spec, row))
    return found


def _classes(spec: DriverSpec) -> Iterator[tuple[str, HandleKind]]:
    for kind, handle in spec.handles.items():
        for name in (*handle.classes, *handle.async_classes):
            yield name, kind


def _plain(value: object) -> str:
    """A text that depends on nothing but the value: mappings and sets sorted, records field by field."""
    if isinstance(value, Enum):
        return str(value.value)
    if is_dataclass(value) and not isinstance(value, type):
        inside = ",".join(f"{item.name}={_plain(getattr(value, item.name))}" for item in fields(value))
        return f"{type(value).__name__}({inside})"
    if isinstance(value, Mapping):
        return "{" + ",".join(sorted(f"{_plain(key)}:{_plain(item)}" for key, item in value.items())) + "}"
    if isinstance(value, frozenset):
        return "{" + ",".join(sorted(map(_plain, value))) + "}"
    if isinstance(value, tuple):
        return "(" + ",".join(map(_plain, value)) + ")"
    return repr(value)


_KNOWN = (PSYCOPG2, PSYCOPG, SQLITE3, AIOSQLITE, ASYNCPG, SQLALCHEMY, DJANGO)
ENABLED = ("psycopg2", "psycopg", "sqlite3", "aiosqlite", "asyncpg", "sqlalchemy", "django")
"""The drivers that are analysed; a table that is not among them is described and compared with its module only."""

FULL_TABLE = DriverTable(_KNOWN)
DEFAULT_TABLE = DriverTable(tuple(spec for spec in _KNOWN if spec.name in ENABLED))


def all_drivers() -> tuple[DriverSpec, ...]:
    """The drivers that are switched on, in the order of their pages."""
    return DEFAULT_TABLE.drivers
