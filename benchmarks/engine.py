"""Speed and memory of the whole analysis of a tree, on one core and without a cache, as a ratio to parsing it.

    python benchmarks/engine.py [TREE ...]

Each TREE (default: the demonstration code and the linter itself) is checked as `dbsafety check -j1` does: prefilter,
parse, analysis, every rule. The lines counted are those of files that pass the prefilter; the ratio compares with
`ast.parse` of the same bytes in the same run, since a machine's speed changes from minute to minute.
"""

from __future__ import annotations

import argparse
import ast
import gc
import resource
import sys
import time
from pathlib import Path

from dbsafety.check.module import check_module
from dbsafety.check.session import Session
from dbsafety.config.load import load
from dbsafety.drivers.vocabulary import relevant
from dbsafety.source.text import SourceText

_MIB = 1024 * 1024


def measure(tree: Path) -> None:
    """Check one tree and print lines per second of processor time, the ratio to parsing, and the peak of memory."""
    files = sorted(tree.rglob("*.py"))
    everything = [(file.as_posix(), file.read_bytes()) for file in files]
    total = sum(data.count(b"\n") for _, data in everything)
    sources = [(path, data) for path, data in everything if relevant(data)]
    lines = sum(data.count(b"\n") for _, data in sources)
    start = time.process_time()
    for path, data in sources:
        try:
            ast.parse(SourceText.decode(data, path).text)
        except (SyntaxError, ValueError):
            continue
    parsing = time.process_time() - start
    session = Session.of(load(tree, isolated=True), [path for path, _ in sources])
    start = time.process_time()
    findings = sum(len(check_module(data, path, session).findings) for path, data in sources)
    checking = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(
        f"{tree.name}: {total} lines, {lines} of them pass the prefilter in {len(sources)} files, {findings} findings; "
        f"{lines / checking:,.0f} lines/s, {checking / parsing:.1f} times parsing; peak {peak / _MIB:.0f} MiB"
    )


def main() -> None:
    """Measure the trees named on the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("trees", nargs="*", type=Path, default=[Path("tests/fixtures/incidents"), Path("dbsafety")])
    gc.disable()
    for tree in options.parse_args().trees:
        measure(tree)


if __name__ == "__main__":
    main()
