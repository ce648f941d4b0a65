"""A control flow graph as text, for `dbsafety debug cfg` and for the drawings the tests compare."""

from __future__ import annotations

import ast

from dbsafety.flow.graph import Cfg, Edge, EdgeKind, Step

WIDTH = 48


def draw(cfg: Cfg) -> str:
    """One line per step: index, source line, kind, code, `->` successors, `!` the target of an exception.

    `in` lists the handlers and raising `finally` copies that hold the step, as Step.saved does.
    """
    notes = [name for name, true in (("generator", cfg.is_generator), ("async", cfg.is_async)) if true]
    if cfg.truncated:
        notes.append("truncated")
    head = f"{getattr(cfg.function, 'name', type(cfg.function).__name__.lower())}: {len(cfg.steps)} steps"
    return "\n".join([", ".join([head, *notes]), *map(_line, cfg.steps)]) + "\n"


def _line(step: Step) -> str:
    parts = [title(step)]
    if step.succ:
        parts.append("-> " + ", ".join(map(_edge, step.succ)))
    if step.exc is not None:
        parts.append(f"!{step.exc}")
    if step.saved:
        parts.append("in " + ",".join(map(str, step.saved)))
    return " ".join(parts)


def title(step: Step) -> str:
    """Index, source line, kind and code of a step."""
    kind = f"{step.kind.value}/{step.why.value}" if step.why else step.kind.value
    text = code(step.node)
    return f"{step.index:>4} {step.line:>4}  {kind}" + (f" {text}" if text else "")


def _edge(edge: Edge) -> str:
    if edge.kind is EdgeKind.FLOW:
        return str(edge.target)
    label = "" if edge.label is None else f"[{edge.label}]"
    return f"{edge.kind.value}{label} {edge.target}"


def code(node: ast.AST | None) -> str:
    """The start of the source of `node`; nothing for statements with a body, whose line says enough."""
    match node:
        case ast.expr() | ast.pattern():
            shown = ast.unparse(node)
        case ast.withitem():
            shown = ast.unparse(node.context_expr)
        case ast.comprehension():
            shown = f"for {ast.unparse(node.target)}"
        case ast.match_case():
            shown = f"case {ast.unparse(node.pattern)}"
        case ast.For() | ast.AsyncFor():
            shown = f"for {ast.unparse(node.target)}"
        case ast.ExceptHandler():
            shown = f"except {ast.unparse(node.type)}" if node.type is not None else "except"
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            shown = node.name
        case ast.stmt() if not hasattr(node, "body"):
            shown = ast.unparse(node)
        case _:
            return ""
    first = shown.splitlines()[0] if shown else ""
    return f"`{first[:WIDTH]}`"
