"""The first half of the demo: both incidents are found, explained, fixed, and found clean."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from demo import show
from demo.incident import EXECUTOR, EXECUTOR_PATCHED, ORCHESTRATOR, ORCHESTRATOR_PATCHED, dbsafety, unmarked

NAMES = ("executor.py", "orchestrator.py")
EXPECTED: Mapping[str, Mapping[str, int]] = {
    "executor.py": {"DBS101": 8},
    "orchestrator.py": {"DBS201": 7, "DBS204": 7},
}
LEFT_BEHIND: Mapping[str, Mapping[str, int]] = {
    "executor.py": {"DBS105": 8, "DBS106": 8},
    "orchestrator.py": {"DBS204": 7, "DBS301": 2},
}
COLOR = ("--color", "always" if show.on_terminal() else "never")


def lay_out(folder: Path, originals: tuple[str, str] = (EXECUTOR, ORCHESTRATOR)) -> Path:
    """Write the incidents' code, by default as it was before, into a folder; return the folder."""
    folder.mkdir(parents=True)
    for name, original in zip(NAMES, originals, strict=True):
        (folder / name).write_text(unmarked(original), encoding="utf-8")
    return folder


def show_findings(folder: Path) -> str:
    """Check the code and print every finding with its trace; return how many, in words.

    Raises Unexpected when it is not what is known to be.
    """
    _must_find(folder, EXPECTED)
    for name in NAMES:
        show.command(["dbsafety", "check", "--output-format", "full", name])
        ran = dbsafety(folder, "check", "--output-format", "full", *COLOR, name)
        show.output(ran.stdout)
        show.output(ran.stderr)
    return _listed(EXPECTED)


def show_patched(folder: Path) -> str:
    """Check the code as the reports repaired it and print counts; return them in words. Raises Unexpected."""
    lay_out(folder, (EXECUTOR_PATCHED, ORCHESTRATOR_PATCHED))
    _must_find(folder, LEFT_BEHIND)
    _expect(folder, 1, "check", "--statistics", "--output", "findings.txt", *NAMES)
    return _listed(LEFT_BEHIND)


def show_diff(folder: Path) -> None:
    """Print what `fix` would change. Raises Unexpected when that is nothing, or when it changes a file."""
    before = _contents(folder)
    words = ["fix", "--unsafe-fixes", "--diff", "--quiet", *NAMES]
    show.command(["dbsafety", *words])
    ran = dbsafety(folder, *words)
    show.diff(ran.stdout)
    show.output(ran.stderr)
    if ran.returncode != 1 or not ran.stdout or _contents(folder) != before:
        raise show.Unexpected(f"fix --diff ends with {ran.returncode} and {len(ran.stdout)} characters of diff")


def show_fix(folder: Path) -> None:
    """Fix the code, check it, fix it again. Raises Unexpected unless it is clean and stays as it is."""
    _expect(folder, 0, "fix", "--unsafe-fixes", *NAMES)
    fixed = _contents(folder)
    _expect(folder, 0, "check", *NAMES)
    _expect(folder, 0, "fix", "--unsafe-fixes", "--exit-non-zero-on-fix", *NAMES)
    if _contents(folder) != fixed:
        raise show.Unexpected("a second fix changed the files again")


def fixed_copy(folder: Path, text: str, *options: str) -> Path:
    """Write an orchestrator and apply some fixes to it; return the file. Raises Unexpected when nothing changed."""
    folder.mkdir(parents=True)
    file = folder / NAMES[1]
    file.write_text(text, encoding="utf-8")
    ran = dbsafety(folder, "fix", *options, file.name)
    if file.read_text(encoding="utf-8") == text:
        raise show.Unexpected(f"fix {' '.join(options)} changed nothing: {ran.stderr.strip()}")
    return file


def _expect(folder: Path, code: int, *words: str) -> None:
    show.command(["dbsafety", *words])
    ran = dbsafety(folder, *words)
    show.output(ran.stdout)
    show.output(ran.stderr)
    if ran.returncode != code:
        raise show.Unexpected(f"`dbsafety {' '.join(words)}` ended with {ran.returncode}, not {code}")


def _must_find(folder: Path, expected: Mapping[str, Mapping[str, int]]) -> None:
    found = _counts(folder)
    if found != expected:
        raise show.Unexpected(f"check finds {_listed(found)}; it should find {_listed(expected)}")


def _counts(folder: Path) -> dict[str, dict[str, int]]:
    ran = dbsafety(folder, "check", "--output-format", "jsonl", *NAMES)
    if ran.returncode != 1:
        raise show.Unexpected(f"check ended with {ran.returncode}: {ran.stderr.strip() or 'it found nothing'}")
    rows = [json.loads(line) for line in ran.stdout.splitlines()]
    return {name: dict(Counter(row["code"] for row in rows if row["path"] == name)) for name in NAMES}


def _contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in NAMES}


def _listed(counts: Mapping[str, Mapping[str, int]]) -> str:
    return "; ".join(
        f"{name}: " + (", ".join(f"{number} {code}" for code, number in sorted(codes.items())) or "nothing")
        for name, codes in counts.items()
    )
