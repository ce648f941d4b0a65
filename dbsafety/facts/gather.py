"""One pass over a tree that fills a `ModuleIndex`; iterative, so that no nesting is too deep."""

from __future__ import annotations

import ast

from dbsafety.facts.alternatives import alternatives
from dbsafety.facts.imports import absolute_module
from dbsafety.facts.scopes import (
    Binding,
    BindKind,
    ClassInfo,
    FunctionInfo,
    FunctionNode,
    ModuleIndex,
    Scope,
    Target,
)

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_TRIES = (ast.Try, ast.With, ast.AsyncWith) + ((ast.TryStar,) if hasattr(ast, "TryStar") else ())

_LEAVES = frozenset(
    {
        *(ast.Name, ast.Constant, ast.Load, ast.Store, ast.Del, ast.Pass, ast.Break, ast.Continue),
        *ast.operator.__subclasses__(),
        *ast.cmpop.__subclasses__(),
        *ast.unaryop.__subclasses__(),
        *ast.boolop.__subclasses__(),
    }
)
"""Nodes that bind nothing and hold nothing."""
_PLAIN = frozenset(
    {
        *(ast.Expr, ast.Attribute, ast.keyword, ast.If, ast.While, ast.BinOp, ast.Compare, ast.BoolOp, ast.UnaryOp),
        *(ast.Subscript, ast.Slice, ast.Tuple, ast.List, ast.Dict, ast.Set, ast.JoinedStr, ast.FormattedValue),
        *(ast.IfExp, ast.Starred, ast.Await, ast.Raise, ast.Assert, ast.ListComp, ast.GeneratorExp, ast.DictComp),
        ast.SetComp,
    }
)
"""Nodes of which only the children matter."""
FILLING = frozenset({"append", "appendleft", "put", "put_nowait", "set", "setdefault"})
"""Methods of containers that put their last argument in."""


def gather(tree: ast.Module, path: str, name: str, *, is_package: bool = False) -> ModuleIndex:
    """Index the module `name` (dotted) that stands at `path`."""
    scope = Scope("module", "", path, None)
    index = ModuleIndex(path, name, is_package, tree, scope)
    body = FunctionInfo(tree, "", scope, None, index)
    scope.function = body
    index.body = body
    index.functions.append(body)
    _Gatherer(index).run(tree, body)
    return index


class _Gatherer:
    """The walk: a stack of (node, scope it stands in, function it stands in)."""

    def __init__(self, index: ModuleIndex) -> None:
        self.index = index
        self.stack: list[tuple[ast.AST, Scope, FunctionInfo]] = []
        self.selves: dict[int, tuple[str, ClassInfo]] = {}
        self.class_of_scope: dict[int, ClassInfo] = {}

    def run(self, tree: ast.Module, body: FunctionInfo) -> None:
        self._push(tree.body, body.scope, body)
        while self.stack:
            node, scope, function = self.stack.pop()
            self._visit(node, scope, function)

    def _push(self, nodes: list[ast.stmt] | list[ast.expr], scope: Scope, function: FunctionInfo) -> None:
        self.stack.extend((node, scope, function) for node in reversed(nodes))

    def _visit(self, node: ast.AST, scope: Scope, function: FunctionInfo) -> None:
        match node:
            case _ if node.__class__ in _PLAIN:
                pass
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                self._function(node, scope, function)
                return
            case ast.ClassDef():
                self._class(node, scope, function)
                return
            case ast.Call():
                function.calls.append(node)
                self._remember_call(node, function)
            case ast.Return():
                function.returns.append(node)
            case ast.Yield() | ast.YieldFrom():
                function.yields.append(node)
            case ast.Import() | ast.ImportFrom():
                self._import(node, scope)
            case ast.Global() | ast.Nonlocal():
                self._declare(node, scope)
            case _:
                self._note(node, function)
                self._bind_statement(node, scope)
        self._children(node, scope, function)

    def _note(self, node: ast.AST, function: FunctionInfo) -> None:
        if isinstance(node, _TRIES):
            function.has_handlers = True
        if isinstance(node, ast.Try):
            function.tries.append(node)
        if isinstance(node, ast.Assign):
            function.assigns.extend((t, node.value) for t in node.targets if isinstance(t, ast.Attribute))

    def _children(self, node: ast.AST, scope: Scope, function: FunctionInfo) -> None:
        """Push the children that can hold anything of interest, in source order."""
        stack = self.stack
        for name in reversed(node._fields):
            value = getattr(node, name, None)
            if value.__class__ is list:
                for item in reversed(value):
                    if isinstance(item, ast.AST) and item.__class__ not in _LEAVES:
                        stack.append((item, scope, function))
            elif isinstance(value, ast.AST) and value.__class__ not in _LEAVES:
                stack.append((value, scope, function))

    def _remember_call(self, node: ast.Call, function: FunctionInfo) -> None:
        callee = node.func
        name = callee.attr if isinstance(callee, ast.Attribute) else callee.id if isinstance(callee, ast.Name) else ""
        if name:
            self.index.callers.setdefault(name, []).append((node, function))
        given = (a for a in (*node.args, *(k.value for k in node.keywords)) if isinstance(a, ast.Name | ast.Attribute))
        for argument in (a.id if isinstance(a, ast.Name) else a.attr for a in given):
            self.index.given.setdefault(argument, []).append((node, function))
        if name in FILLING and isinstance(callee, ast.Attribute) and node.args:
            self._put(callee.value, Binding(BindKind.VALUE, function.scope, node, node.args[-1]))

    def _function(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, scope: Scope, outer: FunctionInfo
    ) -> None:
        name = "<lambda>" if isinstance(node, ast.Lambda) else node.name
        qualname = f"{scope.qualname}.{name}" if scope.qualname else name
        if isinstance(node, ast.Lambda):
            qualname += f"@{node.lineno}:{node.col_offset}"
        inner = Scope("function", qualname, scope.module, scope)
        cls = self.class_of_scope.get(id(scope))
        info = FunctionInfo(node, qualname, inner, cls, self.index)
        inner.function = info
        self.index.functions.append(info)
        if not isinstance(node, ast.Lambda):
            binding = Binding(BindKind.FUNCTION, scope, node, function=info)
            _add(scope, node.name, binding)
            if cls is not None:
                cls.methods[node.name] = info
            self._push(node.decorator_list, scope, outer)
        if cls is not None and info.self_name and not _is_static(node):
            self.selves[id(inner)] = (info.self_name, cls)
        self._parameters(node.args, inner)
        defaults = [*node.args.defaults, *(d for d in node.args.kw_defaults if d is not None)]
        self._push(defaults, scope, outer)
        self._push(node.body if not isinstance(node, ast.Lambda) else [node.body], inner, info)

    def _parameters(self, args: ast.arguments, scope: Scope) -> None:
        for arg in (*args.posonlyargs, *args.args, args.vararg, *args.kwonlyargs, args.kwarg):
            if arg is None:
                continue
            binding = Binding(BindKind.PARAMETER, scope, arg, annotation=arg.annotation)
            _add(scope, arg.arg, binding)

    def _class(self, node: ast.ClassDef, scope: Scope, outer: FunctionInfo) -> None:
        qualname = f"{scope.qualname}.{node.name}" if scope.qualname else node.name
        inner = Scope("class", qualname, scope.module, scope)
        info = ClassInfo(node, qualname, inner, self.index)
        self.class_of_scope[id(inner)] = info
        self.index.classes.append(info)
        _add(scope, node.name, Binding(BindKind.CLASS, scope, node, cls=info))
        self._push(node.decorator_list + node.bases + [k.value for k in node.keywords], scope, outer)
        self._push(node.body, inner, outer)

    def _import(self, node: ast.Import | ast.ImportFrom, scope: Scope) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                self.index.imported.add(alias.name)
                local = alias.asname or alias.name.partition(".")[0]
                dotted = alias.name if alias.asname else local
                _add(_owner(scope, local), local, Binding(BindKind.IMPORT, scope, node, dotted=dotted))
            return
        base = absolute_module(self.index, node.module, node.level)
        self.index.imported.add(base)
        for alias in node.names:
            if alias.name == "*":
                self.index.star_imports.append(base)
                continue
            dotted = f"{base}.{alias.name}" if base else alias.name
            name = alias.asname or alias.name
            _add(_owner(scope, name), name, Binding(BindKind.IMPORT, scope, node, dotted=dotted))

    def _declare(self, node: ast.Global | ast.Nonlocal, scope: Scope) -> None:
        scope.outer_names.update(node.names)
        if isinstance(node, ast.Global):
            scope.global_names.update(node.names)

    def _bind_statement(self, node: ast.AST, scope: Scope) -> None:
        match node:
            case ast.Assign():
                for target in node.targets:
                    self._bind(target, node.value, BindKind.VALUE, scope, node)
            case ast.AnnAssign():
                self._bind(node.target, node.value, BindKind.VALUE, scope, node, annotation=node.annotation)
            case ast.NamedExpr():
                self._bind(node.target, node.value, BindKind.VALUE, scope, node)
            case ast.AugAssign():
                self._bind(node.target, None, BindKind.OTHER, scope, node)
            case ast.For() | ast.AsyncFor():
                self._bind(node.target, node.iter, BindKind.ELEMENT, scope, node)
            case ast.comprehension():
                self._bind(node.target, node.iter, BindKind.ELEMENT, scope, node.target)
            case ast.With() | ast.AsyncWith():
                self._with_items(node, scope)
            case ast.ExceptHandler(name=str() as name):
                _add(scope, name, Binding(BindKind.OTHER, scope, node))

    def _with_items(self, node: ast.With | ast.AsyncWith, scope: Scope) -> None:
        for item in node.items:
            if item.optional_vars is not None:
                self._bind(item.optional_vars, item.context_expr, BindKind.WITH, scope, node)

    def _bind(
        self,
        target: ast.expr,
        value: ast.expr | None,
        kind: BindKind,
        scope: Scope,
        node: ast.AST,
        path: tuple[int, ...] = (),
        annotation: ast.expr | None = None,
    ) -> None:
        match target:
            case ast.Name():
                binding = Binding(kind, scope, node, value, path, annotation=annotation)
                owner = _owner(scope, target.id)
                _add(owner, target.id, binding)
                if value is not None and not path:
                    self._note_target(value, Target(owner, target.id))
            case ast.Attribute():
                self._bind_attribute(target, Binding(kind, scope, node, value, path, annotation=annotation))
            case ast.Subscript() if value is not None and not path:
                self._put(target.value, Binding(kind, scope, node, value))
            case ast.Tuple() | ast.List():
                for position, element in enumerate(target.elts):
                    self._bind(element, value, kind, scope, node, (*path, position))
            case ast.Starred():
                self._bind(target.value, None, BindKind.OTHER, scope, node)

    def _bind_attribute(self, target: ast.Attribute, binding: Binding) -> None:
        cls, name = self._kept_in(target, binding.scope)
        if cls is None or "." in name:
            self.index.stores.setdefault(target.attr, []).append((target.value, binding))
        if cls is not None:
            cls.attributes.setdefault(name, []).append(binding)
            self._keep(binding, cls, name)
        elif isinstance(target.value, ast.Name):
            owner = binding.scope.find(target.value.id)
            if owner is not None and owner.kind == "module":
                name = f"{target.value.id}.{target.attr}"
                _add(owner, name, binding)
                if binding.value is not None and not binding.path:
                    self._note_target(binding.value, Target(owner, name))

    def _kept_in(self, target: ast.expr, scope: Scope) -> tuple[ClassInfo | None, str]:
        """The class whose instance has `target`, with its name there: `conn` for `self.conn`, `local.conn` for more."""
        match target:
            case ast.Attribute(value=ast.Name(id=base), attr=attr):
                return self._class_of(base, scope), attr
            case ast.Attribute(value=ast.Attribute(value=ast.Name(id=base), attr=outer), attr=attr):
                return self._class_of(base, scope), f"{outer}.{attr}"
        return None, ""

    def _keep(self, binding: Binding, cls: ClassInfo, name: str) -> None:
        """What is bound is what the instance keeps."""
        if binding.value is None or binding.path:
            return
        self._note_target(binding.value, Target(binding.scope, name, cls))
        if isinstance(binding.value, ast.Name):
            owner = binding.scope.find(binding.value.id)
            if owner is not None and owner.kind == "function":
                owner.stored.setdefault(binding.value.id, (cls, name))

    def _put(self, container: ast.expr, binding: Binding) -> None:
        """A thing is put into a container: `self.pool[key] = thing`, `pool.append(thing)`."""
        cls, name = self._kept_in(container, binding.scope)
        if cls is not None:
            cls.members.setdefault(name, []).append(binding)
            self._keep(binding, cls, name)
        elif isinstance(container, ast.Name):
            owner = binding.scope.find(container.id)
            if owner is not None and binding.value is not None:
                owner.members.setdefault(container.id, []).append(binding)
                self._note_target(binding.value, Target(owner, container.id))

    def _class_of(self, base: str, scope: Scope) -> ClassInfo | None:
        """The class whose instance (or, in a class method, which itself) `base` names here."""
        current: Scope | None = scope
        while current is not None:
            known = self.selves.get(id(current))
            if known is not None and known[0] == base:
                return known[1]
            if base in current.bindings and base not in current.outer_names:
                break
            current = current.parent
        return next(
            (c for c in self.index.classes if c.node.name == base and c.scope.parent is scope.module_scope()), None
        )

    def _note_target(self, value: ast.expr, target: Target) -> None:
        for part in alternatives(value):
            self.index.targets.setdefault(id(part), target)


def _owner(scope: Scope, name: str) -> Scope:
    if name in scope.global_names:
        return scope.module_scope()
    if name in scope.outer_names and scope.parent is not None:
        return scope.parent.find(name) or scope
    return scope


def _add(scope: Scope, name: str, binding: Binding) -> None:
    scope.bindings.setdefault(name, []).append(binding)


def _is_static(node: FunctionNode) -> bool:
    return not isinstance(node, (ast.Lambda, ast.Module)) and any(
        isinstance(d, ast.Name) and d.id == "staticmethod" for d in node.decorator_list
    )
