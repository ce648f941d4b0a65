"""Texts that are constants of another module of the project."""

from __future__ import annotations

import ast

from dbsafety.facts.constants import text_of
from dbsafety.facts.program import Program
from dbsafety.facts.scopes import BindKind, Scope


def text_across(node: ast.expr | None, scope: Scope, program: Program) -> str | None:
    """The text of `node` as `text_of` gives it, or that of the constant of another module that it names: an imported
    name, or an attribute of an imported module.
    """
    text = text_of(node, scope)
    if text is not None or not isinstance(node, ast.Name | ast.Attribute):
        return text
    dotted = _dotted(node, scope)
    found = program.split(dotted, scope.module) if dotted else None
    if found is None or len(found[1]) != 1 or found[0].scope is scope.module_scope():
        return None
    return text_of(ast.Name(found[1][0], ast.Load()), found[0].scope)


def _dotted(node: ast.expr, scope: Scope) -> str:
    """The dotted name that an import gives the expression, "" when none does."""
    match node:
        case ast.Name(id=name):
            owner = scope.find(name)
            bindings = owner.bindings[name] if owner is not None else []
            return bindings[0].dotted if len(bindings) == 1 and bindings[0].kind is BindKind.IMPORT else ""
        case ast.Attribute(value=value, attr=attr):
            base = _dotted(value, scope)
            return f"{base}.{attr}" if base else ""
    return ""
