"""Which database file a connection is opened on, as far as two openings can be told to mean the same one."""

from __future__ import annotations

import ast

from dbsafety.drivers.spec import HandleKind
from dbsafety.facts.constants import HOLE, text_of
from dbsafety.facts.scopes import BindKind, ClassInfo, FunctionInfo, Scope
from dbsafety.typestate.parameters import argument_for
from dbsafety.typestate.values import Class, Instance, Key
from dbsafety.views.databases import Place, openings_of, place_of
from dbsafety.views.view import FunctionView, ModuleView

_DEPTH = 5
_SAME = frozenset({"str", "os.fspath", "fspath", "Path", "pathlib.Path"})
"""Calls that give the path in another type."""


class Files:
    """The files of a module's connections. Two equal answers mean the same file, None means that nothing is known."""

    def __init__(self, module: ModuleView) -> None:
        self.module = module

    def of_key(self, key: Key) -> str | None:
        """The file of a connection, when every opening of it in the module is of the same one."""
        found = {self.of_opening(view, call) for view, call in openings_of(self.module, key)}
        return found.pop() if len(found) == 1 else None

    def of_opening(self, view: FunctionView, call: ast.Call) -> str | None:
        """The file that the call opens, itself or in a function of the project."""
        if place_of(view, call) is Place.MEMORY:
            return None
        return self._of_call(call, view.info, _DEPTH)

    def told_to(self, caller: FunctionInfo, call: ast.Call, callee: FunctionInfo, file: str | None) -> str | None:
        """The file, told in the caller's terms, that the called function knows as `file`."""
        for argument in callee.parameters:
            if file == _local(callee.scope, argument.arg):
                given = argument_for(call, callee, argument.arg)
                return self._of_path(given, caller.scope, _DEPTH) if given is not None else None
        return None if file is not None and file.startswith(_local(callee.scope, "")) else file

    def _of_call(self, call: ast.Call, function: FunctionInfo, depth: int) -> str | None:
        facts = self.module.summaries.frame(function).call(call)
        if depth == 0 or not any(op.opens and op.handle.kind is HandleKind.CONNECTION for op in facts.ops):
            return None
        if not facts.targets:
            keyword = next((k.value for k in call.keywords if k.arg == "database"), None)
            path = keyword or (call.args[0] if call.args else None)
            return self._of_path(path, function.scope, depth) if path is not None else None
        found: set[str | None] = set()
        for target in facts.targets:
            inner = target.info
            for opening in inner.calls:
                if any(op.opens for op in self.module.summaries.frame(inner).call(opening).ops):
                    found.add(self.told_to(function, call, inner, self._of_call(opening, inner, depth - 1)))
        return found.pop() if len(found) == 1 else None

    def _of_path(self, node: ast.expr, scope: Scope, depth: int) -> str | None:
        text = text_of(node, scope)
        if text is not None:
            return f"text {text}" if HOLE not in text and ":memory:" not in text and text else None
        match node:
            case ast.Call(func=func, args=[inner]) if ast.unparse(func) in _SAME and depth:
                return self._of_path(inner, scope, depth - 1)
            case ast.Name(id=name):
                return self._of_name(name, scope, depth)
            case ast.Attribute(value=value, attr=attr):
                for owner in self.module.resolver.evaluate(value, scope):
                    if isinstance(owner, Instance | Class) and _is_set_once(owner.info, attr):
                        return f"attribute {owner.info.key}.{attr} of {ast.unparse(value)}"
                base = self._of_name(value.id, scope, 0) if isinstance(value, ast.Name) else None
                return f"{base}.{attr}" if base is not None and base.startswith("import ") else None
        return None

    def _of_name(self, name: str, scope: Scope, depth: int) -> str | None:
        owner = scope.find(name)
        bindings = owner.bindings[name] if owner is not None else []
        if owner is None or len(bindings) != 1:
            return None
        binding = bindings[0]
        match binding.kind:
            case BindKind.IMPORT:
                return f"import {binding.dotted}"
            case BindKind.VALUE if isinstance(binding.value, ast.Name | ast.Attribute) and depth:
                told = self._of_path(binding.value, binding.scope, depth - 1)
                return told if told is not None else _local(owner, name)
            case BindKind.VALUE | BindKind.PARAMETER:
                return _local(owner, name)
        return None


def _local(scope: Scope, name: str) -> str:
    return f"variable {scope.module}:{scope.qualname} {name}"


def _is_set_once(cls: ClassInfo, attr: str) -> bool:
    return len(cls.attributes.get(attr, ())) == 1
