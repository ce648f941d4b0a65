"""Teaches astroid the drivers that are written in C: what the classes of the installed modules have and return.

Generated from the live modules, so it is as complete as they are; what a method returns is taken from the driver
tables, and everything else is left open, so that pylint says nothing about it.
"""

from __future__ import annotations

import importlib
import inspect
import keyword
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import ModuleType

from astroid import nodes
from astroid.brain.helpers import register_module_extender
from astroid.builder import parse
from astroid.inference_tip import inference_tip
from astroid.manager import AstroidManager
from astroid.util import Uninferable

from dbsafety.drivers.spec import DriverSpec, HandleSpec
from dbsafety.drivers.table import FULL_TABLE

_OPEN = "__open__"
"""A name that is bound nowhere: what it is cannot be inferred."""
_FACTORIES = frozenset({"connection_factory", "cursor_factory", "factory"})
_OF_EVERY_OBJECT = frozenset(dir(object)) - {"__init__"}
_FACTORY = "_factory"
_CONSTANTS = (str, bytes, int, float, bool, type(None))


@dataclass(frozen=True, slots=True)
class Source:
    """A module to extend, the driver whose table knows it, and the constructors of the table that it defines.

    `whole` says whether all that the live module has is generated, or the constructors alone.
    """

    module: str
    driver: str
    constructors: tuple[str, ...] = ()
    whole: bool = True


SOURCES = (
    Source("psycopg2._psycopg", "psycopg2"),
    Source("psycopg2.errors", "psycopg2"),
    Source("psycopg2", "psycopg2", ("psycopg2.connect",), whole=False),
    Source("_sqlite3", "sqlite3", ("sqlite3.connect",)),
)
_installed: set[str] = set()


def install() -> None:
    """Extend the driver modules for the rest of the process; drivers that are not installed stay unknown."""
    manager = AstroidManager()
    for source in SOURCES:
        text = generated(source) if source.module not in _installed else ""
        if text:
            register_module_extender(manager, source.module, partial(parse, text))
            _installed.add(source.module)
    if _TIP not in _installed:
        manager.register_transform(nodes.Call, inference_tip(_open), chooses_a_class)
        _installed.add(_TIP)


_TIP = "calls with a factory"


def generated(source: Source) -> str:
    """Python source that says what the live module has; "" when it is not installed."""
    try:
        live = importlib.import_module(source.module)
    except ImportError:
        return ""
    writer = _Writer(live, FULL_TABLE.driver(source.driver))
    lines = list(writer.everything(source.constructors)) if source.whole else []
    lines += [line for name in source.constructors for line in writer.constructor(name, imported=not source.whole)]
    return "\n".join([*lines, ""])


def chooses_a_class(call: nodes.Call) -> bool:
    """Whether a call of `connect` or `cursor` may pass a class of its own to be made: then the result stays open."""
    func = call.func
    name = func.attrname if isinstance(func, nodes.Attribute) else func.name if isinstance(func, nodes.Name) else ""
    if name not in ("connect", "cursor"):
        return False
    if any(isinstance(argument, nodes.Starred) for argument in call.args) or len(call.args) > 1:
        return True
    if name == "cursor" and any(not isinstance(argument, nodes.Const) for argument in call.args):
        return True
    return any(argument.arg is None or argument.arg in _FACTORIES for argument in call.keywords)


def _open(_node: nodes.Call, _context: object = None) -> Iterator[object]:
    return iter([Uninferable])


class _Writer:
    """Writes the members of one live module as source."""

    def __init__(self, live: ModuleType, spec: DriverSpec) -> None:
        self._live = live
        self._spec = spec
        self._handles = {name.rsplit(".", 1)[-1]: one for one in spec.handles.values() for name in one.classes[:1]}
        self._written: dict[type, str] = {}

    def everything(self, without: Iterable[str]) -> Iterator[str]:
        """All names of the module but the constructors: first the classes, each after its bases."""
        left_out = {name.rsplit(".", 1)[-1] for name in without}
        members = [(name, value) for name, value in vars(self._live).items() if not _is_private_dunder(name)]
        for name, value in sorted(members, key=lambda member: _depth(member[1])):
            if isinstance(value, type):
                yield from self._class(name, value)
        for name, value in members:
            if name not in left_out and not isinstance(value, type | ModuleType):
                yield from _member(name, value)

    def constructor(self, dotted: str, *, imported: bool) -> Iterator[str]:
        """A function that returns a new handle; with `imported` its class comes from where the table says."""
        constructor = self._spec.constructors[dotted]
        module, _, name = self._spec.handles[constructor.kind].classes[0].rpartition(".")
        if imported:
            yield f"from {module} import {name}"
        yield from _function(dotted.rsplit(".", 1)[-1], f"{name}()")

    def _class(self, name: str, value: type) -> Iterator[str]:
        if value in self._written:
            yield f"{name} = {self._written[value]}"
            return
        self._written[value] = name
        bases = [base for base in value.__bases__ if base is not object]
        for base in bases:
            if base not in self._written and base.__module__ != "builtins":
                yield f"from {base.__module__} import {base.__name__}"
        yield f"class {name}({', '.join(self._written.get(base, base.__name__) for base in bases)}):"
        yield "    pass"
        handle = self._handles.get(name)
        for member, what in vars(value).items():
            if member not in _OF_EVERY_OBJECT and not keyword.iskeyword(member):
                yield from (f"    {line}" for line in self._attribute(handle, vars(value), member, what))

    def _attribute(
        self, handle: HandleSpec | None, siblings: Mapping[str, object], name: str, value: object
    ) -> Iterator[str]:
        made = self._made(handle, name)
        if made and f"{name}{_FACTORY}" in siblings:
            yield f"{name}{_FACTORY} = {made}"
            yield from _function(name, f"self.{name}{_FACTORY}()", "self, ")
        elif made:
            yield from _function(name, f"{made}()", "self, ")
        elif name in ("__enter__", "__iter__") or (handle is not None and _returns_self(handle, name)):
            yield from _function(name, "self", "self, ")
        elif callable(value) and not isinstance(value, type):
            yield from _function(name, _OPEN, "self, ")
        elif not self._made(handle, name.removesuffix(_FACTORY)):
            yield f"{name} = {_OPEN}"

    def _made(self, handle: HandleSpec | None, name: str) -> str:
        """The class of the handle that a method makes, "" if it makes none."""
        method = handle.methods.get(name) if handle is not None else None
        if method is None or method.returns is None or method.returns not in self._spec.handles:
            return ""
        return self._spec.handles[method.returns].classes[0].rsplit(".", 1)[-1]


def _returns_self(handle: HandleSpec, name: str) -> bool:
    return name in handle.methods and handle.methods[name].returns_self


def _member(name: str, value: object) -> Iterator[str]:
    if isinstance(value, _CONSTANTS):
        yield f"{name} = {value!r}"
    elif inspect.isroutine(value):
        yield from _function(name, _OPEN)
    else:
        yield f"{name} = {_OPEN}"


def _function(name: str, result: str, receiver: str = "") -> Iterator[str]:
    yield f"def {name}({receiver}*args, **kwargs):"
    yield f"    return {result}"


def _is_private_dunder(name: str) -> bool:
    return (name.startswith("__") and name.endswith("__")) or not name.isidentifier() or keyword.iskeyword(name)


def _depth(value: object) -> int:
    return len(value.__mro__) if isinstance(value, type) else 0
