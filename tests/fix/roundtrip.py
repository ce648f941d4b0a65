"""All fixes, unsafe ones too, on copies of whole folders: what was applied, what was refused and why, what went wrong.

Run by `make roundtrip TREES="folder ..."`. The promises are checked here anew, not by the gates of `dbsafety.fix`. With
`LABELS=labels.jsonl` it also says what became of the findings at the sites that are labelled as defects.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import io
import json
import shutil
import sys
import tempfile
import tokenize
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from dbsafety.config.load import Configuration
from dbsafety.config.settings import Settings
from dbsafety.fix.footprint import Lines, footprint, import_lines
from dbsafety.fix.tree import TreeIndex
from dbsafety.model.finding import Confidence, Finding
from dbsafety.project.fixes import FileFix, fixed_files
from dbsafety.project.run import RunResult, run
from dbsafety.source.module import parse_tree
from dbsafety.source.text import SourceText

EVERYTHING = Settings(select=("ALL",), min_confidence=Confidence.LOW, exclude=())


@dataclass(slots=True)
class Tally:
    """What became of the fixes of a folder.

    `refused` are fixes that the rule did not plan, `gates` those it planned and a gate stopped, `labelled` what became
    of findings at labelled defects; `broken` are the promises that were not kept, one line each.
    """

    files: int = 0
    changed: int = 0
    findings: Counter[str] = field(default_factory=Counter)
    applied: Counter[str] = field(default_factory=Counter)
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    gates: Counter[tuple[str, str]] = field(default_factory=Counter)
    labelled: Counter[tuple[str, str]] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.files += other.files
        self.changed += other.changed
        self.findings += other.findings
        self.applied += other.applied
        self.refused += other.refused
        self.gates += other.gates
        self.labelled += other.labelled
        self.broken += other.broken

    def lines(self) -> Iterator[str]:
        refused = self.refused + self.gates
        fixable = self.applied.total() + refused.total()
        yield f"files {self.files}, changed {self.changed}, findings {self.findings.total()}, with a fix {fixable}"
        for code, count in sorted(self.findings.items()):
            not_made = sum(n for (own, _), n in refused.items() if own == code)
            yield f"  {code}: findings {count}, applied {self.applied[code]}, refused {not_made}"
        for title, counts in (("refused", self.refused), ("planned, but stopped by a gate", self.gates)):
            yield f"{title}: {counts.total()}"
            yield from (f"  {count} x {code}: {why}" for (code, why), count in _by_code(counts))
        if self.labelled:
            yield f"at labelled defects: {self.labelled.total()} findings"
            yield from (f"  {count} x {code}: {what}" for (code, what), count in _by_code(self.labelled))
        yield f"promises broken: {len(self.broken)}"
        yield from (f"  {line}" for line in self.broken)


def _by_code(counts: Counter[tuple[str, str]]) -> list[tuple[tuple[str, str], int]]:
    return sorted(counts.items(), key=lambda item: (item[0][0], -item[1]))


@dataclass(frozen=True, slots=True)
class Label:
    """A site that a person called a defect: lines of a file below a folder, and the codes that may find it."""

    folder: str
    path: str
    first: int
    last: int
    codes: frozenset[str]

    @classmethod
    def read(cls, file: Path) -> tuple[Label, ...]:
        """The defects of a file of labels; `map.json` beside it says which codes find which kind."""
        kinds: dict[str, list[str]] = json.loads((file.parent / "map.json").read_text(encoding="utf-8"))
        found = []
        for row in map(json.loads, file.read_text(encoding="utf-8").splitlines()):
            if row["label"] == "defect":
                codes = frozenset(code for code, names in kinds.items() if row["rule"] in names)
                found.append(cls(row["tree"], row["path"], row["try_line"], row["end_line"], codes))
        return tuple(found)

    def meets(self, finding: Finding, folder: Path) -> bool:
        """Whether a finding in a copy of the folder is at this site."""
        return (
            finding.code in self.codes
            and self.first <= finding.span.line <= self.last
            and Path(finding.path) == folder / self.path
        )


def copied(source: Path, target: Path, limit: int | None = None) -> int:
    """Copy the Python files below a folder, links left out; returns how many."""
    count = 0
    for file in islice(sorted(source.rglob("*.py")), limit):
        if file.is_file() and not file.is_symlink():
            place = target / file.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
            count += 1
    return count


def round_trip(folder: Path, settings: Settings = EVERYTHING, labels: Iterable[Label] = ()) -> Tally:
    """Fix every file of a folder in place, and again; the folder must be a copy."""
    known = [label for label in labels if label.folder == folder.name]
    configuration = Configuration(settings, folder)
    before = run([str(folder)], configuration)
    originals = {path: path.read_bytes() for path in folder.rglob("*.py")}
    plans: dict[str, list[Finding]] = {}
    for one in before.findings:
        plans.setdefault(one.path, []).append(one)
    tally = Tally(files=before.files, findings=Counter(one.code for one in before.findings))
    for fixed in fixed_files(before, configuration, unsafe=True):
        _take(tally, fixed, plans[fixed.path])
        at_labels = [one for one in plans[fixed.path] if any(label.meets(one, folder) for label in known)]
        tally.labelled.update((one.code, _fate(one, fixed)) for one in at_labels)
    touched = _compare(tally, originals)
    again = run([str(folder)], configuration)
    tally.broken += _new_findings(before, again)
    for fixed in fixed_files(again, configuration, unsafe=True):
        if fixed.changed and Path(fixed.path) in touched:
            tally.broken.append(f"{fixed.path}: a second run changes it again")
    return tally


def _take(tally: Tally, fixed: FileFix, findings: Sequence[Finding]) -> None:
    if fixed.fault is not None:
        tally.broken.append(f"{fixed.path}: {fixed.fault}")
        return
    tally.applied.update(one.code for one in fixed.outcome.applied)
    for one in fixed.outcome.refused:
        kind = tally.refused if one.finding.fix is None else tally.gates
        kind[one.finding.code, one.reason] += 1
    if fixed.changed:
        tally.changed += 1
        fixed.write()
        tally.broken += (f"{fixed.path}: {what}" for what in broken(fixed.old, fixed.outcome.new, findings))


def _fate(finding: Finding, fixed: FileFix) -> str:
    """What became of a finding: "fixed", or why not."""
    if any((one.code, one.span.line) == (finding.code, finding.span.line) for one in fixed.outcome.applied):
        return "fixed"
    if finding.fix is None and not finding.fix_refusal:
        return "found; the rule has no fix"
    here = finding.code, finding.scope
    same = (one for one in fixed.outcome.refused if (one.finding.code, one.finding.scope) == here)
    return next((f"refused: {one.reason}" for one in same), "gone with another fix")


def broken(old: bytes, new: bytes, findings: Iterable[Finding]) -> Iterator[str]:
    """What is wrong with the fixed bytes of a file that had these findings: syntax, comments, bytes elsewhere."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(new)
    except SyntaxError as error:
        yield f"does not parse: {error}"
        return
    text = SourceText.decode(old)
    if lost := _comments(old) - _comments(new):
        yield f"comments lost: {sorted(lost.elements())}"
    if stray := _stray(old, new, _claimed(text, findings)):
        yield f"bytes changed outside the edits: lines {stray}"
    if old.endswith(b"\n") != new.endswith(b"\n") or (b"\r\n" in old) != (b"\r\n" in new):
        yield "line ends changed"


def _comments(data: bytes) -> Counter[str]:
    tokens = tokenize.tokenize(io.BytesIO(data).readline)
    texts = (token.string for token in tokens if token.type == tokenize.COMMENT)
    return Counter(text for text in texts if "dbsafety:" not in text and "noqa" not in text)


def _claimed(text: SourceText, findings: Iterable[Finding]) -> set[int]:
    """The lines the plans may change, and the line behind each: that is where a difference shows an insertion."""
    index = TreeIndex(parse_tree(text, ""))
    ranges: list[Lines] = [import_lines(index.tree, text)]
    for one in findings:
        if one.fix is not None:
            ranges += footprint(one.fix, index, text).allowed
    return {line for lines in ranges for line in range(lines.first, lines.last + 2)}


def _stray(old: bytes, new: bytes, claimed: set[int]) -> list[int]:
    before, after = old.splitlines(keepends=True), new.splitlines(keepends=True)
    found = []
    for kind, start, end, _, _ in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind != "equal":
            found += [line for line in range(start + 1, max(end, start + 1) + 1) if line not in claimed]
    return found


def _compare(tally: Tally, originals: dict[Path, bytes]) -> set[Path]:
    """The files whose bytes differ now; there are as many as were said to be changed."""
    touched = {path for path, data in originals.items() if path.read_bytes() != data}
    if len(touched) != tally.changed:
        tally.broken.append(f"{len(touched)} files differ, {tally.changed} were said to be changed")
    return touched


def _new_findings(before: RunResult, after: RunResult) -> Iterator[str]:
    old = Counter((one.path, one.code) for one in before.findings)
    new = Counter((one.path, one.code) for one in after.findings)
    for (path, code), count in sorted((new - old).items()):
        lines = sorted(one.span.line for one in after.findings if (one.path, one.code) == (path, code))
        yield f"{path}: {count} new {code}, now at lines {lines}"


def main() -> int:
    """Copy each folder, fix the copy, print the tallies; 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--limit", type=int, help="at most so many files of a folder")
    parser.add_argument("--default", action="store_true", help="the rules that are on by default, not all of them")
    parser.add_argument("--quiet", action="store_true", help="print only the sum")
    parser.add_argument("--labels", type=Path, help="a file of labelled sites, with map.json beside it")
    given = parser.parse_args()
    total = Tally()
    labels = Label.read(given.labels) if given.labels else ()
    for folder in given.folders:
        with tempfile.TemporaryDirectory(prefix="roundtrip-") as scratch:
            copy = Path(scratch).resolve() / folder.resolve().name
            if not copied(folder.resolve(), copy, given.limit):
                continue
            tally = round_trip(copy, Settings(exclude=()) if given.default else EVERYTHING, labels)
        total.add(tally)
        if not given.quiet:
            print(f"== {folder}", *tally.lines(), sep="\n", flush=True)
    print("== all", *total.lines(), sep="\n")
    return 1 if total.broken else 0


if __name__ == "__main__":
    sys.exit(main())
