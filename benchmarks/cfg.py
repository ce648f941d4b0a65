"""Speed of building control flow graphs, as a ratio to parsing the same bytes in the same run.

The bytes are the standard library of the running interpreter. A machine's speed changes from minute to minute, so both
are measured file by file in turn, and the ratio is what can be compared. The median of the rounds is printed.
"""

from __future__ import annotations

import argparse
import ast
import gc
import statistics
import sysconfig
import time
from pathlib import Path

from dbsafety.flow.build import build_cfg
from dbsafety.flow.graph import FunctionNode


def functions(tree: ast.Module) -> list[FunctionNode]:
    """The module itself and all its functions, lambdas left out."""
    inner = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [tree, *inner]


def measure(sources: list[bytes]) -> tuple[float, float, int, int]:
    """Seconds of parsing and of building, graphs and steps."""
    parsing = building = 0.0
    graphs = steps = 0
    for source in sources:
        start = time.process_time()
        tree = ast.parse(source)
        parsing += time.process_time() - start
        bodies = functions(tree)
        start = time.process_time()
        for body in bodies:
            steps += len(build_cfg(body).steps)
        building += time.process_time() - start
        graphs += len(bodies)
    return parsing, building, graphs, steps


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=3)
    rounds = options.parse_args().rounds
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    sources = [file.read_bytes() for file in files]
    lines = sum(source.count(b"\n") for source in sources)
    gc.disable()
    results = []
    for _ in range(rounds):
        results.append(measure(sources))
        gc.collect()
    parsing = statistics.median(result[0] for result in results)
    building = statistics.median(result[1] for result in results)
    _, _, graphs, steps = results[0]
    print(f"{len(files)} files, {lines} lines, {graphs} graphs, {steps} steps")
    print(f"ast.parse  {lines / parsing:>9,.0f} lines/s")
    print(f"build_cfg  {lines / building:>9,.0f} lines/s, {steps / building:,.0f} steps/s")
    print(f"building takes {building / parsing:.2f} times as long as parsing")


if __name__ == "__main__":
    main()
