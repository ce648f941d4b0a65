"""Where a module has a function run by other threads."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from dbsafety.facts.scopes import ClassInfo, FunctionInfo
from dbsafety.typestate.values import External, Function, externals
from dbsafety.views.locks import locks_around
from dbsafety.views.origins import origins
from dbsafety.views.view import FunctionView, ModuleView

_STARTERS: dict[str, tuple[int, str]] = {
    "threading.Thread": (1, "target"),
    "threading.Timer": (1, "function"),
    "_thread.start_new_thread": (0, "function"),
    "asyncio.to_thread": (0, "func"),
    "anyio.to_thread.run_sync": (0, "func"),
    "fastapi.concurrency.run_in_threadpool": (0, "func"),
    "starlette.concurrency.run_in_threadpool": (0, "func"),
}
"""Function → the position and the name of the argument that another thread calls."""
_AWAITED = frozenset(name for name in _STARTERS if not name.startswith(("threading.", "_thread.")))
_POOLS = frozenset(
    {
        "concurrent.futures.ThreadPoolExecutor",
        "concurrent.futures.thread.ThreadPoolExecutor",
        "multiprocessing.dummy.Pool",
        "multiprocessing.pool.ThreadPool",
    }
)
_POOL_METHODS = frozenset({"submit", "map", "apply_async", "map_async", "imap", "imap_unordered", "starmap"})
_REPEATED = _POOL_METHODS - {"submit", "apply_async"}
_LOOPS = (ast.For, ast.AsyncFor, ast.While, ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)
_FRAMEWORKS: dict[str, bool] = {"flask.Flask": True, "flask.Blueprint": True, "fastapi.FastAPI": False}
_FRAMEWORKS |= {"fastapi.APIRouter": False, "fastapi.routing.APIRouter": False}
"""Class whose instances register functions that serve requests, each in a thread → whether coroutines too."""
_ROUTES = frozenset({"route", "get", "post", "put", "patch", "delete", "api_route"})


@dataclass(frozen=True, slots=True)
class Started:
    """A function that other threads run: `name` tells threads apart, `several` says that more than one may run it at
    the same time. `site` is the call that starts it in `view`, None for a registered or overridden function; `held`
    are the locks that whoever waits for it holds. `sure` is False where it is a framework or a caller that decides.
    """

    entry: FunctionInfo
    name: str
    several: bool
    view: FunctionView | None = None
    site: ast.Call | None = None
    held: frozenset[str] = frozenset()
    sure: bool = True


def started(module: ModuleView) -> Iterator[Started]:
    """Every such function of the module, in source order of the calls that start them."""
    for view in module.functions:
        for call in view.info.calls:
            yield from _by_function(view, call)
            yield from _by_pool(view, call)
        yield from _registered(view)
    for cls in module.index.classes:
        run = cls.methods.get("run")
        if run is not None and _has_base(module, cls, "threading.Thread"):
            yield Started(run, run.qualname, several=False)


def _by_function(view: FunctionView, call: ast.Call) -> Iterator[Started]:
    for value in externals(view.resolver.evaluate(call.func, view.scope)):
        position = _STARTERS.get(value.dotted)
        if position is None:
            continue
        awaited = value.dotted in _AWAITED
        node = next((k.value for k in call.keywords if k.arg == position[1]), None)
        if node is None and len(call.args) > position[0]:
            node = call.args[position[0]]
        held = locks_around(view, call) if awaited else frozenset()
        for info in _functions(view, node):
            several = awaited or _in_loop(view, call)
            yield Started(info, info.qualname, several, view, call, held, sure=not awaited)


def _by_pool(view: FunctionView, call: ast.Call) -> Iterator[Started]:
    match call.func:
        case ast.Attribute(value=pool, attr="run_in_executor") if len(call.args) > 1:
            held, single = locks_around(view, call), _single_worker(view, call.args[0])
            for info in _functions(view, call.args[1]):
                yield Started(info, single or info.qualname, not single, view, call, held, sure=False)
        case ast.Attribute(value=pool, attr=attr) if attr in _POOL_METHODS and call.args and _is_pool(view, pool):
            single = _single_worker(view, pool)
            several = not single and (attr in _REPEATED or _in_loop(view, call) or bool(view.info.self_name))
            for info in _functions(view, call.args[0]):
                yield Started(info, single or info.qualname, several, view, call)


def _is_pool(view: FunctionView, node: ast.expr) -> bool:
    return any(found.dotted in _POOLS for found in origins(view, node))


def _single_worker(view: FunctionView, node: ast.expr) -> str:
    """How the pool is spelled, if it has one thread only; "" if not."""
    for found in origins(view, node):
        if found.dotted in _POOLS and found.call is not None:
            given = [*found.call.args[:1], *(k.value for k in found.call.keywords if "workers" in (k.arg or ""))]
            if any(isinstance(n, ast.Constant) and n.value == 1 for n in given):
                return ast.unparse(node)
    return ""


def _in_loop(view: FunctionView, node: ast.AST) -> bool:
    return any(isinstance(outer, _LOOPS) for outer in view.around(node))


def _functions(view: FunctionView, node: ast.expr | None) -> list[FunctionInfo]:
    values = view.resolver.evaluate(node, view.scope) if node is not None else frozenset()
    found = [value.info for value in values if isinstance(value, Function)]
    return sorted((info for info in found if info.module is view.info.module), key=lambda info: info.qualname)


def _registered(view: FunctionView) -> Iterator[Started]:
    """The function, if a web framework is told to serve requests with it."""
    for decorator in view.info.decorators:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if not isinstance(called, ast.Attribute) or called.attr not in _ROUTES:
            continue
        outer = view.scope.parent or view.scope
        for found in origins(view, called.value, outer):
            coroutines = _FRAMEWORKS.get(found.dotted)
            if coroutines or (coroutines is False and not isinstance(view.info.node, ast.AsyncFunctionDef)):
                yield Started(view.info, view.info.qualname, several=True, sure=False)
                return


def _has_base(module: ModuleView, cls: ClassInfo, dotted: str) -> bool:
    values = (v for base in cls.node.bases for v in module.resolver.evaluate(base, cls.scope.parent or cls.scope))
    return any(isinstance(value, External) and value.dotted == dotted for value in values)
