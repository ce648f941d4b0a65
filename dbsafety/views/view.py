"""Everything a rule may ask: about a module, about a function, about the connections in it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from dbsafety.drivers.spec import ConstructorSpec, DriverSpec, HandleKind
from dbsafety.facts.scopes import Binding, BindKind, FunctionInfo, ModuleIndex, Scope
from dbsafety.flow.graph import Cfg, Step
from dbsafety.model.finding import Confidence
from dbsafety.typestate.attributes import is_property
from dbsafety.typestate.automaton import Raised, State, Tx
from dbsafety.typestate.catch import Match, clause_matches
from dbsafety.typestate.frame import Frame
from dbsafety.typestate.ops import CallFacts, Op
from dbsafety.typestate.parameters import argument_for
from dbsafety.typestate.relation import Exit, Start, Subject
from dbsafety.typestate.report import Swallow, entry_state, outlives, swallows
from dbsafety.typestate.search import Search
from dbsafety.typestate.summaries import Summaries
from dbsafety.typestate.values import Evaluator, External, Handle, Key, Nothing, externals, handles, param_key


@dataclass(frozen=True, slots=True)
class Options:
    """Settings that rules use.

    `sqlite_timeout`: seconds that the fix of DBS201 writes. `target_python`: the oldest Python the code runs on, None
    when it is not known. `slow_calls`: what DBS208 takes for slow besides what it knows.
    """

    sqlite_timeout: float = 30.0
    target_python: tuple[int, int] | None = None
    slow_calls: tuple[str, ...] = ()


class ModuleView:
    """One module."""

    def __init__(self, index: ModuleIndex, path: str, summaries: Summaries, options: Options) -> None:
        self.index = index
        self.path = path
        self.summaries = summaries
        self.resolver: Evaluator = summaries.resolver
        self.options = options

    @cached_property
    def functions(self) -> tuple[FunctionView, ...]:
        """The module body, and every function, method and lambda in it, in source order."""
        return tuple(FunctionView(self, info) for info in self.index.functions)

    def name_for(self, dotted: str, scope: Scope) -> str | None:
        """The expression that names the thing `dotted` in `scope`: its own name, or an attribute of its module.

        Names that are also bound to something else, or that only type checkers see, do not count.
        """
        module, _, member = dotted.rpartition(".")
        current: Scope | None = scope
        while current is not None:
            for name, bindings in current.bindings.items():
                if scope.find(name) is not current:
                    continue  # a parameter or variable further in has the name
                if not all(self._is_import(binding) for binding in bindings):
                    continue
                dotteds = [b.dotted for b in bindings if b.kind is BindKind.IMPORT]
                if dotted in dotteds:
                    return name
                if module and module in dotteds:
                    return f"{name}.{member}"
            current = current.parent
        return None

    def _is_import(self, binding: Binding) -> bool:
        """Whether the binding is an import that runs, or the None that stands for one that failed."""
        if binding.kind is BindKind.IMPORT:
            return id(binding.node) not in self._for_types
        return isinstance(binding.value, ast.Constant) and binding.value.value is None

    @cached_property
    def _for_types(self) -> frozenset[int]:
        """The statements under `if TYPE_CHECKING`, by `id`."""
        blocks = (
            node.body
            for node in ast.walk(self.index.tree)
            if isinstance(node, ast.If) and ast.unparse(node.test).rpartition(".")[2] == "TYPE_CHECKING"
        )
        return frozenset(id(node) for body in blocks for node in body)

    def sends(self, key: Key, words: str) -> bool:
        """Whether a statement whose text holds `words` is sent on the connection anywhere in the module, also by a
        function that gets it as an argument.
        """
        keys = {key, *self._inside(key)}
        ops = (op for view in self.functions for _, op in view.ops() if op.key in keys)
        return any(op.sql is not None and words in op.sql.lower() for op in ops)

    def _inside(self, key: Key) -> Iterator[Key]:
        """The keys by which the functions that are called with the connection know it."""
        for view in self.functions:
            for call, facts in view.calls():
                if key not in facts.passed:
                    continue
                for target in facts.targets:
                    for argument in target.info.parameters:
                        value = argument_for(call, target.info, argument.arg)
                        if any(h.key == key for h in handles(self.resolver.evaluate(value, view.scope))):
                            yield param_key(target.info, argument.arg)

    @cached_property
    def is_script(self) -> bool:
        """Whether the file only runs and ends: no threads, no server, nothing but functions called from `main`."""
        busy = ("threading", "concurrent", "multiprocessing", "asyncio", "flask", "fastapi", "django", "aiohttp")
        return not any(name.partition(".")[0] in busy for name in self.index.imported) and bool(self._mains)

    @cached_property
    def _mains(self) -> list[ast.stmt]:
        """The statements `if __name__ == "__main__"`."""
        return [
            node
            for node in self.index.tree.body
            if isinstance(node, ast.If) and isinstance(node.test, ast.Compare) and "__main__" in ast.dump(node.test)
        ]

    def ends_in_main(self, node: ast.AST | None) -> bool:
        """Whether `node` stands in the part of a script that the end of the process follows."""
        parts = (part for main in self._mains for part in ast.walk(main))
        return self.is_script and self.index.tree.body[-1:] == self._mains[-1:] and any(part is node for part in parts)

    def dies_of_errors_in(self, function: FunctionInfo, spec: DriverSpec, depth: int = 8) -> bool:
        """Whether a driver's error that leaves the function ends the script: no caller up to its end may catch it."""
        if not self.is_script or depth == 0:
            return False
        sites = [
            (view, call)
            for view in self.functions
            for call, facts in view.calls()
            if any(target.info is function for target in facts.targets)
        ]
        if not sites or any(view.may_catch(call, spec) for view, call in sites):
            return False
        callers = {id(view.info): view.info for view, _ in sites if not isinstance(view.info.node, ast.Module)}
        return all(self.dies_of_errors_in(caller, spec, depth - 1) for caller in callers.values())


class FunctionView:
    """One function with its graph."""

    def __init__(self, module: ModuleView, info: FunctionInfo) -> None:
        self.module = module
        self.info = info
        self.path = module.path
        self.scope = info.scope
        self.resolver = module.resolver
        self.frame: Frame = module.summaries.frame(info)

    @property
    def name(self) -> str:
        """Qualified name, "" for the module body."""
        return self.info.qualname

    @property
    def cfg(self) -> Cfg:
        """The control flow graph."""
        return self.frame.cfg

    @cached_property
    def swallows(self) -> tuple[Swallow, ...]:
        """The database errors that end in this function."""
        if not self.info.has_handlers:
            return ()
        found = swallows(self.module.summaries, self.info)
        return tuple(swallow for swallow in found if not self._heals(swallow, is_property))

    def calls(self) -> Iterator[tuple[ast.Call, CallFacts]]:
        """The calls of this body in source order, with what they do."""
        for node in sorted(self.info.calls, key=lambda call: (call.lineno, call.col_offset)):
            yield node, self.frame.call(node)

    def ops(self, key: Key | None = None) -> Iterator[tuple[ast.Call, Op]]:
        """The operations on connections (of one connection) in source order."""
        for node, facts in self.calls():
            for op in facts.ops:
                if key is None or op.key == key:
                    yield node, op

    @cached_property
    def parents(self) -> dict[int, ast.AST]:
        """`id` of a node of this body → its parent."""
        found: dict[int, ast.AST] = {}
        for node in ast.walk(self.info.node):
            for child in ast.iter_child_nodes(node):
                found[id(child)] = node
        return found

    def around(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes around `node`, innermost first, up to the function itself."""
        current = self.parents.get(id(node))
        while current is not None and current is not self.info.node:
            if isinstance(current, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
                return
            yield current
            current = self.parents.get(id(current))

    def may_catch(self, node: ast.AST, spec: DriverSpec) -> bool:
        """Whether a clause around `node` may catch an error of the driver, or `finally` around it drops one."""
        clauses = [c for outer in self.around(node) if isinstance(outer, ast.Try) for c in outer.handlers]
        matches = (clause_matches(self.resolver, c.type, self.scope, spec, Raised.DB) for c in clauses)
        managers = any(isinstance(outer, (ast.With, ast.AsyncWith)) for outer in self.around(node))
        drops = any(isinstance(outer, ast.Try) and outer.finalbody for outer in self.around(node))
        return managers or drops or any(match is not Match.NO for match in matches)

    def statement_of(self, node: ast.AST) -> ast.stmt | None:
        """The statement that holds `node`."""
        if isinstance(node, ast.stmt):
            return node
        return next((outer for outer in self.around(node) if isinstance(outer, ast.stmt)), None)

    def suite_of(self, statement: ast.stmt) -> list[ast.stmt]:
        """The list of statements in which `statement` stands."""
        parent = self.parents.get(id(statement), self.info.node)
        for field in ("body", "orelse", "finalbody"):
            suite = getattr(parent, field, None)
            if isinstance(suite, list) and statement in suite:
                return suite
        return [statement]

    def step_of(self, node: ast.AST) -> Step | None:
        """The step of the graph whose node is `node`."""
        return self._steps.get(id(node))

    @cached_property
    def _steps(self) -> dict[int, Step]:
        found: dict[int, Step] = {}
        for step in self.cfg.steps:
            if step.node is not None:
                found.setdefault(id(step.node), step)
        return found

    def constructor(self, call: ast.Call) -> ConstructorSpec | None:
        """The row of the driver's constructor that the call means."""
        for value in externals(self.resolver.evaluate(call.func, self.scope)):
            found = self.resolver.table.constructor(value.dotted)
            if found is not None:
                return found[1]
        return None

    def spec(self, handle: Handle) -> DriverSpec:
        """The driver's table."""
        return self.resolver.table.driver(handle.driver)

    def outlives(self, handle: Handle, key: Key) -> bool:
        """Whether the connection lives on when the function ends."""
        return outlives(self.module.summaries, self.info, Subject(key, handle))

    def follow(self, handle: Handle, key: Key) -> Search:
        """The analysis of one connection over the whole function."""
        subject = Subject(key, handle)
        search = self.module.summaries.search(self.info, subject)
        search.run(Start.ENTRY, entry_state(self.info, subject))
        return search

    def spellings(self, key: Key, kind: HandleKind = HandleKind.CONNECTION) -> list[ast.expr]:
        """The names and attributes by which this body speaks of the connection (or of a cursor of it)."""
        found: dict[str, ast.expr] = {}
        for node in self._mentions:
            if any(h.key == key and h.kind is kind for h in handles(self.resolver.evaluate(node, self.scope))):
                found.setdefault(ast.unparse(node), node)
        return list(found.values())

    @cached_property
    def _mentions(self) -> list[ast.expr]:
        found: list[ast.expr] = []
        for call in sorted(self.info.calls, key=lambda node: (node.lineno, node.col_offset)):
            parts = [*call.args]
            if isinstance(call.func, ast.Attribute):
                parts.append(call.func.value)
            found.extend(p for p in parts if isinstance(p, ast.Name) or _is_plain_attribute(p))
        for item in self.frame.items():
            if isinstance(item.context_expr, (ast.Name, ast.Attribute)):
                found.append(item.context_expr)
            if isinstance(item.optional_vars, ast.Name):
                found.append(item.optional_vars)
        for binding in (b for bindings in self.scope.bindings.values() for b in bindings):
            if isinstance(binding.node, ast.Assign):
                found.extend(t for t in binding.node.targets if isinstance(t, ast.Name) or _is_plain_attribute(t))
        return found

    def heals_at_checkout(self, swallow: Swallow) -> bool:
        """Whether the function that hands the connection out ends a failed transaction first."""
        return self._heals(swallow, lambda _: True)

    def _heals(self, swallow: Swallow, chosen: Callable[[FunctionInfo], bool]) -> bool:
        key = swallow.subject.key
        for other in filter(chosen, self.module.index.functions):
            values = (self.resolver.evaluate(r.value, other.scope) for r in other.returns)
            if not any(h.key == key and h.kind is HandleKind.CONNECTION for v in values for h in handles(v)):
                continue
            failed = State(Tx.FAILED, by=-3)
            relation = self.module.summaries.relation(other, swallow.subject, Start.ENTRY, failed)
            ends = [state for way, state in relation if way is Exit.NORMAL]
            if ends and all(state.tx is not Tx.FAILED for state in ends):
                return True
        return False

    def may_be_none(self, node: ast.expr) -> bool:
        """Whether the expression may be None as far as its bindings tell."""
        return any(isinstance(value, Nothing) for value in self.resolver.evaluate(node, self.scope))

    def confidence(self, swallow: Swallow) -> Confidence:
        """How sure the engine is that the thing is a connection in a transaction."""
        return swallow.subject.handle.confidence

    def is_external(self, node: ast.expr, dotted: str) -> bool:
        """Whether the expression means the external name."""
        return any(isinstance(v, External) and v.dotted == dotted for v in self.resolver.evaluate(node, self.scope))


def _is_plain_attribute(node: ast.AST) -> bool:
    """`a.b` or `a.b.c`, nothing that is computed."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name)
