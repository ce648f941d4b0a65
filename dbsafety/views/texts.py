"""What code concludes from the text of a driver's error, and what would tell it without a text (facts B1, B1e)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dbsafety.drivers.spec import DriverSpec, ErrorText
from dbsafety.facts.constants import HOLE, text_of
from dbsafety.typestate.containers import flat
from dbsafety.typestate.values import External, Value
from dbsafety.views.view import FunctionView

_SHORTEST = 4
"""Letters that a text must have to mean something."""
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'|`[^`]*`")
_NAMES = frozenset({"e", "err", "error", "ex", "exc", "exception"})
"""Parameters by which helper functions are given an error, whose class they then ask for."""
_WRAPPING = frozenset({"casefold", "lower", "strip", "upper"})
_SEARCHING = frozenset({"count", "endswith", "find", "index", "startswith"})
_MATCHING = frozenset({"re.fullmatch", "re.match", "re.search", "re.findall"})
_CONSTRAINT = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)+")
"""What names of constraints look like, and words of messages do not."""
_PATTERN_SIGNS = re.compile(r"[\\.^$*+?{}\[\]|()]+[a-zA-Z]?")


@dataclass(frozen=True, slots=True)
class TextTest:
    """`node` tests the text of the error `name`; `known` are the messages it may mean, of the driver `spec`.

    `sure`: the error has the code on every Python the code runs on. `constraint`: the text is the name of a constraint,
    and `known` is empty.
    """

    node: ast.expr
    name: str
    spec: DriverSpec
    known: tuple[ErrorText, ...]
    handler: ast.ExceptHandler | None
    sure: bool
    constraint: bool = False


@dataclass(frozen=True, slots=True)
class _Error:
    """A name of an error: the nodes that may use it, and the classes it is sure to be of, empty for unknown."""

    name: str
    body: Sequence[ast.stmt]
    drivers: tuple[DriverSpec, ...]
    handler: ast.ExceptHandler | None = None
    violates: bool = False


def text_tests(view: FunctionView) -> Iterator[TextTest]:
    """The first test in each handler, or function that is given a driver's error, which a code would do better."""
    for error in _errors(view):
        found = next(_tests(view, error), None)
        if found is not None:
            yield found


def _errors(view: FunctionView) -> Iterator[_Error]:
    for attempt in view.info.tries:
        for handler in attempt.handlers:
            if handler.name is not None:
                drivers = _drivers(view, handler.type)
                yield _Error(handler.name, handler.body, drivers, handler, _violates(view, handler.type))
    node = view.info.node
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        for argument in view.info.parameters:
            drivers = _drivers(view, argument.annotation)
            if drivers or argument.arg in _NAMES:
                yield _Error(argument.arg, node.body, drivers)


def _drivers(view: FunctionView, node: ast.expr | None) -> tuple[DriverSpec, ...]:
    """The drivers whose errors a class expression means; empty unless every class is a driver's."""
    values = view.resolver.evaluate(node, view.scope) if node is not None else frozenset()
    found = [_driver(view, value) for value in flat(values)]
    known = [spec for spec in found if spec is not None]
    return tuple({spec.name: spec for spec in known}.values()) if known and len(known) == len(found) else ()


def _violates(view: FunctionView, node: ast.expr | None) -> bool:
    """Whether every class that the clause names is that of a violated constraint, or one below it."""
    values = list(flat(view.resolver.evaluate(node, view.scope))) if node is not None else []
    return bool(values) and all(isinstance(v, External) and _is_violation(view, v.dotted) for v in values)


def _is_violation(view: FunctionView, dotted: str) -> bool:
    if dotted.rpartition(".")[2].startswith("Integrity"):
        return True
    found = view.resolver.table.error(dotted)
    return found is not None and any(_is_violation(view, parent) for parent in found[1].parents)


def _driver(view: FunctionView, value: Value) -> DriverSpec | None:
    found = view.resolver.table.error(value.dotted) if isinstance(value, External) else None
    return found[0] if found is not None and found[1].aborts else None


def _tests(view: FunctionView, error: _Error) -> Iterator[TextTest]:
    nodes = [node for statement in error.body for node in ast.walk(statement)]
    if not nodes or _asks_for_code(view, nodes):
        return
    for node in nodes:
        if not isinstance(node, ast.Compare | ast.Call):
            continue
        told = _told(node, view)
        if told is None or not _is_text(told[0], error, nodes) or _is_asserted(view, node) or _is_either(view, node):
            continue
        for spec in error.drivers or _narrowed(view, node, error.name):
            if error.violates and spec.constraint_attribute and told[1] and all(map(_CONSTRAINT.fullmatch, told[1])):
                yield TextTest(node, error.name, spec, (), error.handler, sure=True, constraint=True)
                break
            known = _meaning(spec, told[1])
            target = view.module.options.target_python
            if not known or any(_is_older(target, one) for one in known) or _opens(view, error, spec):
                continue
            sure = target is not None or all(one.since is None for one in known)
            yield TextTest(node, error.name, spec, known, error.handler, sure)
            break


def _is_older(target: tuple[int, int] | None, known: ErrorText) -> bool:
    """Whether the code runs on a Python that cannot tell the code."""
    return known.since is not None and target is not None and target < known.since


def _asks_for_code(view: FunctionView, nodes: Sequence[ast.AST]) -> bool:
    """Whether some error is asked for its code as well, which then decides."""
    names = {name for spec in view.resolver.table.drivers if not spec.family for name in spec.code_attributes}
    asked = (node.attr for node in nodes if isinstance(node, ast.Attribute))
    texts = (node.value for node in nodes if isinstance(node, ast.Constant))
    return any(name in names for name in asked) or any(text in names for text in texts)


def _told(node: ast.Compare | ast.Call, view: FunctionView) -> tuple[ast.expr, tuple[str, ...]] | None:
    """The expression that is searched, and the texts that are looked for, when `node` is such a search."""
    match node:
        case ast.Compare(left=left, ops=[ast.In() | ast.NotIn()], comparators=[text]):
            return text, _constants(view, node, left)
        case ast.Compare(left=text, ops=[ast.Eq() | ast.NotEq()], comparators=[right]):
            return text, _constants(view, node, right)
        case ast.Call(func=ast.Attribute(value=text, attr=name), args=[sought, *_]) if name in _SEARCHING:
            return text, _constants(view, node, sought)
        case ast.Call(func=func, args=[pattern, text, *_]) if any(view.is_external(func, name) for name in _MATCHING):
            found = text_of(pattern, view.scope)
            pieces = _PATTERN_SIGNS.split(found) if found is not None else []
            return text, (max(pieces, key=len),) if pieces else ()
    return None


def _constants(view: FunctionView, use: ast.AST, node: ast.expr) -> tuple[str, ...]:
    """The texts that `node` may be: a constant, a choice, or the variable of a comprehension over constants."""
    if isinstance(node, ast.Tuple):
        return tuple(text for element in node.elts for text in _constants(view, use, element))
    text = text_of(node, view.scope)
    if text is not None:
        return (text,)
    for outer in view.around(use):
        if not isinstance(outer, ast.GeneratorExp | ast.ListComp | ast.SetComp):
            continue
        for generator in outer.generators:
            if isinstance(node, ast.Name) and ast.unparse(generator.target) == node.id:
                return _elements(view, generator.iter)
    return ()


def _elements(view: FunctionView, node: ast.expr) -> tuple[str, ...]:
    if isinstance(node, ast.Name):
        owner = view.scope.find(node.id)
        bindings = owner.bindings[node.id] if owner is not None else []
        node = bindings[0].value or node if len(bindings) == 1 else node
    if not isinstance(node, ast.Tuple | ast.List | ast.Set):
        return ()
    texts = [text_of(element, view.scope) for element in node.elts]
    return tuple(text for text in texts if text is not None) if None not in texts else ()


def _is_text(node: ast.expr, error: _Error, nodes: Sequence[ast.AST], depth: int = 0) -> bool:
    """Whether the expression is the text of the error, or of the one it wraps."""
    if depth > 4:
        return False
    match node:
        case ast.Call(func=ast.Name(id="str" | "repr"), args=[inner]):
            return _is_error(inner, error, nodes)
        case ast.Call(func=ast.Attribute(value=inner, attr=name)) if name in _WRAPPING:
            return _is_text(inner, error, nodes, depth + 1)
        case ast.Subscript(value=ast.Attribute(value=inner, attr="args"), slice=ast.Constant()):
            return _is_error(inner, error, nodes)
        case ast.Attribute(value=inner, attr="pgerror"):
            return _is_error(inner, error, nodes)
        case ast.JoinedStr(values=[ast.FormattedValue(value=inner)]):
            return _is_error(inner, error, nodes)
        case ast.BoolOp(values=[inner, *_]) | ast.NamedExpr(value=inner):
            return _is_text(inner, error, nodes, depth + 1)
        case ast.Name(id=name) if name != error.name:
            return any(_is_text(value, error, nodes, depth + 1) for value in _given(name, nodes))
    return False


def _is_error(node: ast.expr, error: _Error, nodes: Sequence[ast.AST], depth: int = 0) -> bool:
    match node:
        case ast.Attribute(value=inner, attr="orig" | "__cause__" | "args"):
            return _is_error(inner, error, nodes, depth)
        case ast.Name(id=name) if name == error.name:
            return True
        case ast.Name(id=name) if depth < 3:
            return any(_is_error(value, error, nodes, depth + 1) for value in _given(name, nodes))
    return False


def _given(name: str, nodes: Sequence[ast.AST]) -> list[ast.expr]:
    """What the name is bound to, when there is one such place."""
    values = [
        node.value
        for node in nodes
        if isinstance(node, ast.Assign)
        and [target.id for target in node.targets if isinstance(target, ast.Name)] == [name]
    ]
    walrus = [n.value for n in nodes if isinstance(n, ast.NamedExpr) and n.target.id == name]
    return [*values, *walrus] if len(values) + len(walrus) == 1 else []


def _is_asserted(view: FunctionView, node: ast.AST) -> bool:
    return any(
        isinstance(outer, ast.Assert)
        or (isinstance(outer, ast.Call) and ast.unparse(outer.func).rpartition(".")[2].startswith("assert"))
        for outer in view.around(node)
    )


def _is_either(view: FunctionView, node: ast.AST) -> bool:
    """Whether the class is asked for as well, in the same `or`: the text is for another driver."""
    outer = view.parents.get(id(node))
    return isinstance(outer, ast.BoolOp) and isinstance(outer.op, ast.Or) and "isinstance(" in ast.unparse(outer)


def _narrowed(view: FunctionView, node: ast.AST, name: str) -> tuple[DriverSpec, ...]:
    """The drivers that an `isinstance` around the test, or before it in the same `and`, says the error is of."""
    inner: ast.AST = node
    for outer in view.around(node):
        tests: list[ast.expr] = []
        if isinstance(outer, ast.BoolOp) and isinstance(outer.op, ast.And) and inner in outer.values:
            tests = outer.values[: outer.values.index(inner)]
        elif isinstance(outer, ast.If | ast.IfExp) and inner is not outer.test and inner not in _orelse(outer):
            tests = outer.test.values if isinstance(outer.test, ast.BoolOp) else [outer.test]
            if isinstance(outer.test, ast.BoolOp) and isinstance(outer.test.op, ast.Or):
                tests = []
        for test in tests:
            match test:
                case ast.Call(func=ast.Name(id="isinstance"), args=[ast.Name(id=asked), kind]) if asked == name:
                    return _drivers(view, kind)
        inner = outer
    return ()


def _orelse(node: ast.If | ast.IfExp) -> list[ast.AST]:
    return list(node.orelse) if isinstance(node, ast.If) else [node.orelse]


def _meaning(spec: DriverSpec, texts: Sequence[str]) -> tuple[ErrorText, ...]:
    """The messages that the texts mean; none unless each of them means messages with a code, and only such."""
    found: list[ErrorText] = []
    for text in texts:
        plain = " ".join(_QUOTED.sub(" ", text.lower()).replace(":", " ").split())
        if HOLE in text or len(plain) < _SHORTEST:
            return ()
        fitting = [entry for entry in spec.error_texts if plain in entry.text or entry.text in plain]
        if not fitting or not all(entry.code for entry in fitting):
            return ()
        if any(len(plain) > len(entry.text) for entry in fitting) and not all(entry.name for entry in fitting):
            return ()  # SQLite names the columns in the text alone
        found.extend(fitting)
    return tuple(dict.fromkeys(found))


def _opens(view: FunctionView, error: _Error, spec: DriverSpec) -> bool:
    """Whether the error may be that of opening a connection, which has no code with some versions (fact B1e)."""
    attempt = view.parents.get(id(error.handler)) if error.handler is not None else None
    if not isinstance(attempt, ast.Try) or spec.keeps_lock:
        return False
    inside = {id(node) for statement in attempt.body for node in ast.walk(statement)}
    return any(op.opens and not op.handle.pooled and id(call) in inside for call, op in view.ops())
