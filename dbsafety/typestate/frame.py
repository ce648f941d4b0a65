"""One function ready to be analysed: its graph, and what its calls and blocks mean, computed once."""

from __future__ import annotations

import ast
from dataclasses import replace

from dbsafety.drivers.spec import Effect
from dbsafety.facts.scopes import FunctionInfo
from dbsafety.flow.build import build_cfg
from dbsafety.flow.graph import Cfg
from dbsafety.typestate.attributes import method
from dbsafety.typestate.blocks import Block, blocks_of
from dbsafety.typestate.memory import Memory, Store
from dbsafety.typestate.ops import CallFacts, call_facts
from dbsafety.typestate.relation import Question, Relation
from dbsafety.typestate.values import (
    Evaluator,
    Function,
    Handle,
    Instance,
    Key,
    Manager,
    ManagerKind,
    Mode,
    handles,
)


class Frames:
    """What is known of the functions of a program, by the identity of the node or the function it is about."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.calls: Store[int, CallFacts] = Store(memory)
        self.blocks: Store[int, tuple[Block, ...]] = Store(memory)
        self.graphs: Store[int, Cfg] = Store(memory)
        self.items: Store[int, list[ast.withitem]] = Store(memory)
        self.worked_on: Store[int, dict[Key, Handle]] = Store(memory)
        self.targets: Store[int, list[Function]] = Store(memory)
        self.touched: Store[int, tuple[dict[Key, Handle], bool]] = Store(memory)
        self.relations: Store[Question, Relation] = Store(memory)
        self.returns: Store[int, bool] = Store(memory)


class Frame:
    """A function with its control flow graph; facts about calls and `with` items are kept by node."""

    def __init__(self, resolver: Evaluator, info: FunctionInfo, frames: Frames) -> None:
        self.resolver = resolver
        self.info = info
        self.scope = info.scope
        self._frames = frames

    @property
    def cfg(self) -> Cfg:
        """The control flow graph, built when first asked for."""
        node = self.info.node
        return self._frames.graphs.get(id(node), lambda: build_cfg(node, self._can_suppress))

    def call(self, node: ast.Call) -> CallFacts:
        """What the call does."""
        return self._frames.calls.get(id(node), lambda: call_facts(self.resolver, node, self.scope))

    def blocks(self, item: ast.withitem) -> tuple[Block, ...]:
        """The managers that the `with` item enters."""
        return self._frames.blocks.get(id(item), lambda: blocks_of(self.resolver, item, self.scope, self.info))

    def items(self) -> list[ast.withitem]:
        """The `with` items of this body, nested functions left out."""
        return self._frames.items.get(id(self.info), self._items)

    def _items(self) -> list[ast.withitem]:
        return list(dict.fromkeys(step.node for step in self.cfg.steps if isinstance(step.node, ast.withitem)))

    def _can_suppress(self, node: ast.expr) -> bool:
        """Whether the manager may swallow an exception."""
        for value in self.resolver.evaluate(node, self.scope):
            match value:
                case Manager(kind=ManagerKind.SUPPRESS | ManagerKind.STACK | ManagerKind.GENERATOR):
                    return True
                case Instance(info=info):
                    leave = method(self.resolver, info, "__exit__") or method(self.resolver, info, "__aexit__")
                    if leave is not None and any(_may_be_true(s.value) for s in leave.returns):
                        return True
        return False

    def own(self) -> dict[Key, Handle]:
        """The connections that this body itself works on, with a handle of each."""
        return self._frames.worked_on.get(id(self.info), self._own)

    def _own(self) -> dict[Key, Handle]:
        found: dict[Key, Handle] = {}
        for node in self.info.calls:
            for op in self.call(node).ops:
                if op.effect is not Effect.NEUTRAL or op.opens:
                    _note(found, op.handle, op.key)
        if self.info.has_handlers:
            for item in self.items():
                for block in self.blocks(item):
                    for key in block.keys:
                        if block.handle is not None:
                            _note(found, block.handle, key)
        return found

    def targets(self) -> list[Function]:
        """The project functions that this body may call, its `with` managers among them."""
        return self._frames.targets.get(id(self.info), self._targets)

    def _targets(self) -> list[Function]:
        found: dict[str, Function] = {}
        for node in self.info.calls:
            for target in self.call(node).targets:
                found[_name(target.info)] = target
        if self.info.has_handlers:
            for item in self.items():
                for block in self.blocks(item):
                    for function in (block.function, block.enter):
                        if function is not None:
                            found[_name(function)] = Function(function)
        return [found[name] for name in sorted(found)]

    def passed(self) -> dict[Key, Handle]:
        """The connections whose handle is given to another function as an argument."""
        found: dict[Key, Handle] = {}
        for node in self.info.calls:
            facts = self.call(node)
            if facts.passed and facts.targets:
                for argument in (*node.args, *(k.value for k in node.keywords)):
                    for handle in handles(self.resolver.evaluate(argument, self.scope)):
                        _note(found, handle, handle.key)
        return found


def _note(found: dict[Key, Handle], handle: Handle, key: Key) -> None:
    """Keep the handle that is known best, a connection rather than a cursor; modes that differ are unknown."""
    known = found.get(key)
    if known is None:
        found[key] = handle
        return
    mode = known.mode if known.mode is handle.mode else Mode.UNKNOWN
    better = (handle.confidence.rank, handle.kind.value == "connection") > (
        known.confidence.rank,
        known.kind.value == "connection",
    )
    found[key] = replace(handle if better else known, mode=mode)


def _name(info: FunctionInfo) -> str:
    return f"{info.module.path}:{info.qualname}"


def _may_be_true(node: ast.expr | None) -> bool:
    return node is not None and not (isinstance(node, ast.Constant) and not node.value)
