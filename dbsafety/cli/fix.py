"""`dbsafety fix`."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from dbsafety.check.paths import shown
from dbsafety.check.session import Session
from dbsafety.cli.check import CLEAN, FAILED, FOUND, many
from dbsafety.cli.console import PROGRAM, say, style_for, tell, write
from dbsafety.cli.options import Arguments, add_output, add_paths, add_settings, arguments
from dbsafety.cli.records import Sources, report
from dbsafety.model.faults import DbsafetyError, FixRefused
from dbsafety.model.finding import Finding
from dbsafety.output.diff import diff
from dbsafety.output.formats import written
from dbsafety.project.discover import is_excluded
from dbsafety.project.run import RunResult, run
from dbsafety.source.text import SourceText

if TYPE_CHECKING:
    from dbsafety.project.fixes import FileFix


def add(to: argparse.ArgumentParser) -> None:
    """Apply the fixes of what is wrong, then report what is left."""
    add_paths(to)
    add_settings(to)
    to.add_argument("--diff", action="store_true", help="print what would change, change nothing")
    to.add_argument("--unsafe-fixes", action="store_true", help="also apply fixes that change behaviour on purpose")
    to.add_argument("--exit-non-zero-on-fix", action="store_true", help="exit with 1 when files were changed")
    add_output(to)


def command(found: argparse.Namespace) -> int:
    """Fix, print, and return the exit code. Raises UsageFault and ConfigFault."""
    given = arguments(found)
    if given.reads_stdin:
        return _stdin(given, found)
    result = run(given.paths, given.configuration)
    job = _Job(quiet=given.quiet, diff=found.diff)
    if any(finding.fix is not None or finding.fix_refusal for finding in result.findings):
        # Here, since libcst takes a third of a second to import: a run that has nothing to fix does without.
        from dbsafety.project.fixes import fixed_files

        for fixed in fixed_files(result, given.configuration, unsafe=found.unsafe_fixes):
            job.take(fixed)
    left = job.left(result)
    made = report(left, Sources())
    if not found.diff:
        name = given.configuration.settings.output_format
        write(written(made, name, style_for(sys.stdout, given.color)), None)
    for trouble in made.troubles:
        if trouble.is_fault or not given.quiet:
            tell(trouble)
    for remark in left.remarks:
        job.note(remark)
    job.say_summary(len(left.findings))
    return job.exit_code(left, strict=found.exit_non_zero_on_fix)


def _stdin(given: Arguments, found: argparse.Namespace) -> int:
    """Read source, write fixed source (or with --diff the difference); findings are only counted."""
    from dbsafety.project.fixes import FileFix, fixed_source

    data = sys.stdin.buffer.read()
    name = shown(given.stdin_filename)
    job = _Job(quiet=given.quiet, diff=found.diff)
    result = RunResult(1)
    if not (given.configuration.settings.force_exclude and is_excluded(name, given.configuration)):
        session = Session.of(given.configuration, [name])
        outcome = fixed_source(data, name, session, unsafe=found.unsafe_fixes)
        job.show(FileFix(name, data, outcome))
        result = replace(result, findings=outcome.remaining)
        data = outcome.new
    if not found.diff:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    job.say_summary(len(result.findings))
    return job.exit_code(result, strict=found.exit_non_zero_on_fix)


@dataclass(slots=True)
class _Job:
    """What was done so far: how many findings are fixed, in which files, what is left in them."""

    quiet: bool
    diff: bool
    fixed: int = 0
    changed: int = 0
    faults: list[DbsafetyError] = field(default_factory=list)
    _left: dict[str, tuple[Finding, ...]] = field(default_factory=dict)

    def take(self, file: FileFix) -> None:
        """Write a file, or show what would be written, and remember what is left."""
        if file.fault is not None:
            self.faults.append(file.fault)
            return
        if file.changed and not self.diff:
            try:
                file.write()
            except FixRefused as refusal:
                self.faults.append(refusal)
                return
        self.show(file)
        self._left[file.path] = file.outcome.remaining

    def show(self, file: FileFix) -> None:
        """Count a file's fixes, say which were made and which were not, or print the difference."""
        self.fixed += len(file.outcome.applied)
        if file.changed:
            self.changed += 1
            if self.diff:
                write(diff(file.path, _text(file.old), _text(file.outcome.new)), None)
        for finding in file.outcome.applied:
            title = finding.fix.title if finding.fix is not None else ""
            verb = "would fix" if self.diff else "fixed"
            self.note(f"{finding.path}:{finding.span.line}: {verb} {finding.code}: {title}")
        for refusal in file.outcome.refused:
            one = refusal.finding
            self.note(f"{one.path}:{one.span.line}: {one.code} not fixed: {refusal.reason}")

    def left(self, result: RunResult) -> RunResult:
        """The result of the check, with the findings that are left, and with what could not be done."""
        unchanged = (finding for finding in result.findings if finding.path not in self._left)
        remaining = (finding for findings in self._left.values() for finding in findings)
        findings = sorted((*unchanged, *remaining), key=lambda finding: finding.sort_key)
        return replace(result, findings=tuple(findings), faults=(*result.faults, *self.faults))

    def note(self, text: str) -> None:
        """One line on standard error, unless that is to stay quiet."""
        if not self.quiet:
            say(f"{PROGRAM}: note: {text}")

    def say_summary(self, remaining: int) -> None:
        """One sentence about the run on standard error."""
        if self.quiet:
            return
        verb = "Would fix" if self.diff else "Fixed"
        done = f"{verb} {many(self.fixed, 'finding')} in {many(self.changed, 'file')}"
        say(f"{done}; {remaining} left." if remaining else f"{done}; none left.")

    def exit_code(self, left: RunResult, *, strict: bool) -> int:
        """2 for faults; with --diff 1 for a difference; else 1 for findings left or, if `strict`, for changed files."""
        if left.faults:
            return FAILED
        if self.diff:
            return FOUND if self.changed else CLEAN
        return FOUND if left.findings or (strict and self.changed) else CLEAN


def _text(data: bytes) -> str:
    return SourceText.decode(data).text
