"""Scopes, bindings, functions and attributes that one pass over a module gathers."""

from __future__ import annotations

import ast
from textwrap import dedent

import pytest

from dbsafety.facts.gather import gather
from dbsafety.facts.imports import absolute_module
from dbsafety.facts.scopes import BindKind, FunctionInfo, ModuleIndex


def index_of(source: str, name: str = "shop.store", *, is_package: bool = False) -> ModuleIndex:
    return gather(ast.parse(dedent(source)), "store.py", name, is_package=is_package)


def function(index: ModuleIndex, qualname: str) -> FunctionInfo:
    return next(info for info in index.functions if info.qualname == qualname)


def test_functions_methods_and_lambdas_in_source_order() -> None:
    index = index_of("""
        def one():
            def inner(): pass
        class Store:
            def add(self): pass
        last = lambda: 1
    """)
    assert [info.qualname for info in index.functions] == ["", "one", "one.inner", "Store.add", "<lambda>@6:7"]
    assert [info.cls.qualname if info.cls else "" for info in index.functions] == ["", "", "", "Store", ""]


def test_names_are_found_as_python_finds_them() -> None:
    index = index_of("""
        outer = 1
        class Store:
            hidden = 2
            def add(self):
                own = 3
                def inner(): pass
    """)
    scope = function(index, "Store.add.inner").scope
    found = {name: scope.find(name) for name in ("own", "outer", "hidden", "nowhere")}
    assert {name: owner.qualname if owner else None for name, owner in found.items()} == {
        "own": "Store.add",
        "outer": "",
        "hidden": None,
        "nowhere": None,
    }


def test_global_and_nonlocal_bind_outside() -> None:
    index = index_of("""
        def one():
            global shared
            shared = 1
            kept = 2
            def inner():
                nonlocal kept
                kept = 3
    """)
    assert "shared" in index.scope.bindings
    assert "kept" not in function(index, "one.inner").scope.bindings
    assert len(function(index, "one").scope.bindings["kept"]) == 2


@pytest.mark.parametrize(
    ("statement", "kind", "path"),
    [
        ("x = make()", BindKind.VALUE, ()),
        ("x: int = make()", BindKind.VALUE, ()),
        ("y, x = make()", BindKind.VALUE, (1,)),
        ("(x := make())", BindKind.VALUE, ()),
        ("with make() as x: pass", BindKind.WITH, ()),
        ("for x in make(): pass", BindKind.ELEMENT, ()),
        ("import x", BindKind.IMPORT, ()),
        ("def x(): pass", BindKind.FUNCTION, ()),
        ("class x: pass", BindKind.CLASS, ()),
        ("x += 1", BindKind.OTHER, ()),
        ("try: pass\nexcept OSError as x: pass", BindKind.OTHER, ()),
    ],
)
def test_ways_of_binding(statement: str, kind: BindKind, path: tuple[int, ...]) -> None:
    index = index_of(statement)
    (binding,) = index.scope.bindings["x"]
    assert (binding.kind, binding.path) == (kind, path)


def test_nested_unpacking_keeps_its_path() -> None:
    (binding,) = index_of("(y, (z, x)), w = make()").scope.bindings["x"]
    assert binding.path == (0, 1, 1)


def test_attributes_are_gathered_over_all_methods() -> None:
    index = index_of("""
        class Store:
            def open(self, path):
                conn = connect(path)
                self.conn = conn
            def reset(this):
                this.conn = None
            @staticmethod
            def alien(self):
                self.other = 1
    """)
    (store,) = index.classes
    assert sorted(store.attributes) == ["conn"]
    assert len(store.attributes["conn"]) == 2
    assert function(index, "Store.open").scope.stored["conn"] == (store, "conn")


def test_handlers_and_calls_are_those_of_the_body_itself() -> None:
    index = index_of("""
        def outer():
            def inner():
                try: a()
                except OSError: b()
            c()
    """)
    assert [ast.unparse(call) for call in function(index, "outer").calls] == ["c()"]
    assert not function(index, "outer").has_handlers
    assert function(index, "outer.inner").has_handlers


@pytest.mark.parametrize(
    ("name", "is_package", "module", "level", "absolute"),
    [
        ("shop.store", False, "json", 0, "json"),
        ("shop.store", False, "db", 1, "shop.db"),
        ("shop.store", False, None, 1, "shop"),
        ("shop", True, "db", 1, "shop.db"),
        ("shop.store", False, "db", 2, "db"),
        ("shop.store", False, "db", 3, "...db"),
    ],
)
def test_relative_imports(name: str, is_package: bool, module: str | None, level: int, absolute: str) -> None:
    assert absolute_module(index_of("", name, is_package=is_package), module, level) == absolute


def test_imports() -> None:
    index = index_of("import a.b\nimport a.b as c\nfrom .db import connect as open_it\nfrom sqlite3 import *")
    dotted = {name: bindings[0].dotted for name, bindings in index.scope.bindings.items()}
    assert dotted == {"a": "a", "c": "a.b", "open_it": "shop.db.connect"}
    assert index.star_imports == ["sqlite3"]


def test_a_global_bound_by_an_import_in_a_function() -> None:
    index = gather(
        ast.parse("def f():\n    global connect\n    from sqlite3 import connect\n    connect('a')\n"), "a.py", "a"
    )
    inner = index.functions[1].scope
    assert inner.find("connect") is index.scope
    assert [binding.dotted for binding in index.scope.bindings["connect"]] == ["sqlite3.connect"]


def test_a_global_that_nobody_binds() -> None:
    index = gather(ast.parse("def f():\n    global connect\n    connect('a')\n"), "a.py", "a")
    assert index.functions[1].scope.find("connect") is None


def test_methods_that_another_class_fills_in() -> None:
    index = index_of(
        '''
        class Base:
            def raises(self):
                """Later."""
                raise NotImplementedError

            def says_what(self):
                raise NotImplementedError("later")

            @abc.abstractmethod
            def marked(self): ...

            @abstractmethod
            def has_a_body(self):
                return 1

            def empty(self):
                pass

            def other(self):
                raise ValueError

        def function():
            raise NotImplementedError
        '''
    )
    assert [f.qualname for f in index.functions if f.is_abstract] == ["Base.raises", "Base.says_what", "Base.marked"]
