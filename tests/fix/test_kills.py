"""`dbsafety fix` killed at random moments of its life: every file is old or new, and the next run ends the work."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import pytest

from dbsafety.cli.main import main

SEED = 20_240_607
POINTS = 200
FILES = 12
PADDING = "# what fills more than one page of the disk\n" * 300
OLD = f'{PADDING}import sqlite3\n\nconn = sqlite3.connect("a.db")\n{PADDING}'.encode()
NEW = OLD.replace(b'"a.db"', b'"a.db", timeout=30.0')
OPTIONS = ["--isolated", "--select", "DBS201", "--jobs", "2", "--quiet"]
ENDED, INSIDE = "after its end", "inside a write"
TEMPORARY = ".*.dbsafety-tmp"


@dataclass(frozen=True, slots=True)
class Tree:
    """Files to fix: some in a folder and its child, one behind a symbolic link whose target lies elsewhere."""

    root: Path
    files: tuple[Path, ...]

    @classmethod
    def below(cls, folder: Path) -> Tree:
        root, far = folder / "tree", folder / "far"
        (root / "pkg").mkdir(parents=True)
        far.mkdir()
        (root / "link.py").symlink_to(far / "target.py")
        inside = [root / ("pkg" if number % 2 else ".") / f"m{number}.py" for number in range(FILES - 1)]
        return cls(root, (*inside, far / "target.py"))

    def reset(self) -> None:
        for file in self.files:
            file.write_bytes(OLD)

    def temporary(self) -> list[Path]:
        return [path for file in self.files[-3:] for path in file.parent.glob(TEMPORARY)]

    def names(self) -> list[str]:
        return sorted(path.name for file in self.files[-3:] for path in file.parent.iterdir())


def started(tree: Tree) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "dbsafety", "fix", *OPTIONS, "."]
    return subprocess.Popen(command, cwd=tree.root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def killed(tree: Tree, moment: float, *, aimed: bool) -> str:
    """Kill a run after so many seconds or, if aimed, in the first write after them; says what it was doing.

    The processes that it had started hold its standard error open: they are gone when that ends.
    """
    process = started(tree)
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        while aimed and process.poll() is None and not tree.temporary():
            pass
        process.send_signal(signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert b"Traceback" not in said
    new = sum(file.read_bytes() == NEW for file in tree.files)
    if process.returncode != -signal.SIGKILL:
        assert (process.returncode, new) == (0, FILES)
        return ENDED
    if tree.temporary():
        return INSIDE
    if new in (0, FILES):
        return "before the first write" if not new else "after the last write"
    return "between writes"


def life(tree: Tree) -> float:
    """How long a run takes that nobody kills, in seconds."""
    tree.reset()
    begun = monotonic()
    assert started(tree).wait() == 0
    return monotonic() - begun


def kill_at(points: int, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Kill as many runs, at moments spread over the whole life of one; after each kill the next run must end the work.

    Every other one is killed in the write that comes next. A run that ends before its moment does not count as a kill,
    and at least one kill must meet a write. Returns how many met which part of a run.
    """
    monkeypatch.chdir(tree.root)
    life(tree)  # the first run of all compiles what it imports
    usual = life(tree)
    expected = tree.names()
    moments = random.Random(SEED)
    met: Counter[str] = Counter()
    while met.total() - met[ENDED] < points or not met[INSIDE]:
        tree.reset()
        met[killed(tree, moments.uniform(0, usual), aimed=met.total() % 2 == 1)] += 1
        assert all(file.read_bytes() in (OLD, NEW) for file in tree.files)
        assert main(["fix", *OPTIONS[:-3], "--quiet", "."]) == 0
        assert [file.read_bytes() for file in tree.files] == [NEW] * FILES
        assert tree.names() == expected
    print(f"{points} kills in {usual:.2f} s of a run, by what they met:", dict(met))
    return met


if sys.platform != "win32":

    def test_a_few_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert kill_at(3, Tree.below(tmp_path), monkeypatch).total() >= 3

    @pytest.mark.slow
    def test_many_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        met = kill_at(POINTS, Tree.below(tmp_path), monkeypatch)
        assert met[INSIDE] >= POINTS // 5
        assert met[INSIDE] + met["between writes"] >= POINTS // 4
        assert met["before the first write"] >= POINTS // 20
