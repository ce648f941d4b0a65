"""Invariants of every graph, over this package, its tests and some of the standard library."""

from __future__ import annotations

import ast
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from dbsafety.flow.build import build_cfg
from dbsafety.flow.graph import Cfg, EdgeKind, StepKind, Why

ROOT = Path(__file__).parents[2]
LIBRARY = Path(sysconfig.get_path("stdlib"))
FILES = [
    *(ROOT / "dbsafety").rglob("*.py"),
    *(ROOT / "tests" / "fixtures").rglob("*.py"),
    *(LIBRARY / f"{name}.py" for name in ("argparse", "contextlib", "subprocess", "tarfile", "threading", "pickle")),
    *(LIBRARY / "asyncio").glob("*.py"),
]
RAISING = {StepKind.CALL, StepKind.AWAIT, StepKind.YIELD, StepKind.OP, StepKind.FOR, StepKind.WITH_ENTER}
RAISING |= {StepKind.WITH_EXIT, StepKind.RAISE}
SOMETIMES = {StepKind.CASE, StepKind.TRY, StepKind.RESUME}
BRANCHING = {StepKind.TEST, StepKind.CASE, StepKind.FOR}


def graphs() -> Iterator[tuple[Path, Cfg]]:
    for file in FILES:
        try:
            tree = ast.parse(file.read_bytes())
        except SyntaxError:
            continue  # fixtures may hold what this interpreter, or any, cannot parse
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.Module):
                yield file, build_cfg(node, lambda _: True)


def reachable(cfg: Cfg) -> set[int]:
    reached, todo = {cfg.return_end, cfg.raise_end, cfg.entry}, [cfg.entry]
    while todo:
        step = cfg.steps[todo.pop()]
        targets = {edge.target for edge in step.succ} | ({step.exc} - {None})
        todo += targets - reached
        reached |= targets
    return reached


def faults(cfg: Cfg) -> Iterator[str]:
    steps, reached = cfg.steps, reachable(cfg)
    for step in steps:
        if step.index not in reached:
            yield f"{step.index} cannot be reached"
        if steps[step.index] is not step:
            yield f"{step.index} has the wrong index"
        if step.kind not in SOMETIMES and (step.exc is not None) != (step.kind in RAISING):
            yield f"{step.index} raises wrongly"
        if step.kind is StepKind.RESUME and (step.why is Why.RAISE) != (step.exc is not None):
            yield f"{step.index} resumes wrongly"
        if not step.succ and step.exc is None and step.index not in (cfg.return_end, cfg.raise_end):
            yield f"{step.index} leads nowhere"
        branches = {edge.kind for edge in step.succ} & {EdgeKind.TRUE, EdgeKind.FALSE}
        if bool(branches) != (step.kind in BRANCHING):
            yield f"{step.index} branches wrongly"
        if any(steps[index].kind is not StepKind.HANDLER for index in step.handlers):
            yield f"{step.index} has wrong handlers"
        if not set(step.handlers) <= set(step.saved) or step.line < 1:
            yield f"{step.index} is placed wrongly"


def test_graphs_are_well_formed() -> None:
    found, count = [], 0
    for file, cfg in graphs():
        count += 1
        found += [f"{file.name}:{cfg.steps[0].line}: {fault}" for fault in faults(cfg)]
        if cfg.truncated:
            found.append(f"{file.name}:{cfg.steps[0].line}: truncated")
    assert found == []
    assert count > 1_500
