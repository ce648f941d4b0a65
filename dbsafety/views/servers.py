"""Questions about the PostgreSQL server that a call connects to: what its DSN says, and where it comes from."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from dbsafety.drivers.spec import ConstructorSpec
from dbsafety.facts.constants import text_of
from dbsafety.facts.scopes import BindKind, Scope
from dbsafety.typestate.values import External, Function
from dbsafety.views.view import FunctionView

_URL = re.compile(r"postgres(?:ql)?(?:\+\w+)?://(?:[^@/]*@)?(?P<host>[^:/?]*)", re.IGNORECASE)
_PAIR = re.compile(r"\b(?P<key>host|hostaddr|service)\s*=\s*'?(?P<value>[^\s']*)", re.IGNORECASE)
_KEYS = re.compile(r"\b(?:dbname|host|hostaddr|user|password|port)\s*=", re.IGNORECASE)
_LOCAL = ("localhost", "127.0.0.1", "::1")
_HOST_WORDS = frozenset({"host", "hostaddr", "service"})
_ENVIRONMENT = ("os.getenv", "os.environ", "os.environ.get")
_DSN = ("dsn", "conninfo")
_DEPTH = 5


@dataclass(frozen=True, slots=True)
class Server:
    """What a call says about the server.

    `dsn` is the text as far as it is known, None when there is none; `known` tells whether nothing that matters is
    hidden. `environment`: the DSN is taken from an environment variable. `local`: a socket file, or this very machine.
    """

    dsn: str | None = None
    known: bool = True
    environment: bool = False
    local: bool = False


def server_of(view: FunctionView, call: ast.Call, constructor: ConstructorSpec) -> Server:
    """The server that an opening call names."""
    argument = dsn_of(call, constructor)
    hosts = [keyword.value for keyword in call.keywords if keyword.arg in _HOST_WORDS]
    spread = any(keyword.arg is None for keyword in call.keywords)
    if argument is None or (isinstance(argument, ast.Constant) and not argument.value):
        return Server(local=not spread and all(_is_local(view, host) for host in hosts))
    text = text_of(argument, view.scope)
    if text is None or not (_URL.match(text) or _KEYS.search(text)):
        return Server(known=False, environment=_from_environment(view, argument, view.scope))
    return Server(text, local=not hosts and not spread and _names_local(text))


def dsn_of(call: ast.Call, constructor: ConstructorSpec) -> ast.expr | None:
    """The argument that is the DSN."""
    for keyword in call.keywords:
        if keyword.arg in _DSN:
            return keyword.value
    place = next((place for place, name in constructor.positions.items() if name in _DSN), None)
    return call.args[place] if place is not None and place < len(call.args) else None


def _is_local(view: FunctionView, node: ast.expr) -> bool:
    text = text_of(node, view.scope)
    return text is not None and _is_local_name(text)


def _is_local_name(host: str) -> bool:
    return not host or host.startswith("/") or host.lower() in _LOCAL


def _names_local(text: str) -> bool:
    url = _URL.match(text)
    if url is not None:
        return _is_local_name(url["host"])
    return all(_is_local_name(pair["value"]) for pair in _PAIR.finditer(text))


def _from_environment(view: FunctionView, node: ast.expr, scope: Scope, depth: int = 0) -> bool:
    """Whether the value is read from an environment variable, perhaps by a function of the project."""
    if depth > _DEPTH:
        return False
    match node:
        case ast.Subscript(value=value):
            return _is_environment(view, value, scope)
        case ast.BoolOp(values=values):
            return any(_from_environment(view, value, scope, depth + 1) for value in values)
        case ast.Name(id=name):
            owner = scope.find(name)
            bindings = owner.bindings[name] if owner is not None else []
            plain = [b for b in bindings if b.kind is BindKind.VALUE and not b.path and b.value is not None]
            return bool(plain) and any(_from_environment(view, b.value, b.scope, depth + 1) for b in plain if b.value)
        case ast.Call(func=func):
            if _is_environment(view, func, scope):
                return True
            called = [v.info for v in view.resolver.evaluate(func, scope) if isinstance(v, Function)]
            returned = [(r.value, info.scope) for info in called for r in info.returns if r.value is not None]
            return bool(returned) and all(_from_environment(view, v, inside, depth + 1) for v, inside in returned)
    return False


def _is_environment(view: FunctionView, node: ast.expr, scope: Scope) -> bool:
    values = view.resolver.evaluate(node, scope)
    return any(isinstance(value, External) and value.dotted in _ENVIRONMENT for value in values)
