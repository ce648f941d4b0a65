"""Questions about the database a call opens: in memory, immutable, temporary, or shared with other writers."""

from __future__ import annotations

import ast
from enum import Enum

from dbsafety.facts.constants import text_of
from dbsafety.facts.scopes import Binding, BindKind
from dbsafety.rules.view import FunctionView
from dbsafety.typestate.values import External

_TEMPORARY_WORDS = ("tmp", "temp", "scratch")
_CONCURRENT = ("threading", "concurrent", "multiprocessing", "asyncio", "flask", "fastapi", "django", "socketserver")


class Place(Enum):
    """What is known of the file."""

    MEMORY = "memory"
    IMMUTABLE = "immutable"
    TEMPORARY = "temporary"
    SHARED = "shared"
    """The module itself runs threads or serves requests."""
    UNKNOWN = "unknown"


def place_of(view: FunctionView, call: ast.Call) -> Place:
    """What the first argument of an opening call says about the database."""
    argument = next((k.value for k in call.keywords if k.arg == "database"), call.args[0] if call.args else None)
    text = text_of(argument, view.scope)
    if text is not None:
        lowered = text.lower()
        if lowered in (":memory:", "") or lowered.startswith("file::memory:") or "mode=memory" in lowered:
            return Place.MEMORY
        if "immutable=1" in lowered:
            return Place.IMMUTABLE
    if argument is not None and _is_temporary(view, argument):
        return Place.TEMPORARY
    imported = {name.partition(".")[0] for name in view.module.index.imported}
    return Place.SHARED if imported.intersection(_CONCURRENT) else Place.UNKNOWN


def _is_temporary(view: FunctionView, node: ast.expr, depth: int = 0) -> bool:
    """Whether the path comes from `tempfile`, or is named as temporary."""
    if depth > 4:
        return False
    for part in ast.walk(node):
        match part:
            case ast.Name(id=name):
                if any(word in name.lower() for word in _TEMPORARY_WORDS) or _bound_to_temporary(view, name, depth):
                    return True
            case ast.Attribute(attr=name) if any(word in name.lower() for word in _TEMPORARY_WORDS):
                return True
            case ast.Call(func=func) if _is_tempfile(view, func):
                return True
    return False


def _is_tempfile(view: FunctionView, func: ast.expr) -> bool:
    values = view.resolver.evaluate(func, view.scope)
    return any(isinstance(value, External) and value.dotted.startswith("tempfile.") for value in values)


def _bound_to_temporary(view: FunctionView, name: str, depth: int) -> bool:
    owner = view.scope.find(name)
    bindings: list[Binding] = owner.bindings[name] if owner is not None else []
    return any(
        binding.value is not None and _is_temporary(view, binding.value, depth + 1)
        for binding in bindings
        if binding.kind in (BindKind.VALUE, BindKind.WITH)
    )
