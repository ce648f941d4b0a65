"""`dbsafety fix`."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dbsafety.check.paths import shown
from dbsafety.check.session import Session
from dbsafety.cli.check import CLEAN, FAILED, FOUND, many, nothing_found, reported, tell_rest, write_findings
from dbsafety.cli.console import PROGRAM, say, style_for, write
from dbsafety.cli.options import Arguments, add_output, add_paths, add_settings, arguments
from dbsafety.cli.records import Sources
from dbsafety.fix.apply import remove_leftovers
from dbsafety.model.faults import DbsafetyError, FixRefused
from dbsafety.model.finding import Finding
from dbsafety.model.rewrite import Applicability
from dbsafety.output.diff import diff
from dbsafety.output.style import Style
from dbsafety.project.discover import is_excluded
from dbsafety.project.run import RunResult, run

if TYPE_CHECKING:
    from dbsafety.fix.loop import FixOutcome
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
    job = _Job(quiet=given.quiet, diff=found.diff)
    if given.reads_stdin:
        return _stdin(given, found, job)
    result = run(given.paths, given.configuration, found.jobs)
    if not found.diff:
        for folder in result.leftovers:
            remove_leftovers(Path(folder))
    if any(finding.fix is not None or finding.fix_refusal for finding in result.findings):
        # Here, since libcst takes a third of a second to import: a run that has nothing to fix does without.
        from dbsafety.project.fixes import fixed_files

        for fixed in fixed_files(result, given.configuration, unsafe=found.unsafe_fixes):
            job.take(fixed)
    left = job.left(result)
    # With --diff the findings left are those of texts that no file holds.
    unwritten = {file.path: file.outcome.new for file in job.shown} if found.diff else {}
    made = reported(left, Sources(unwritten), given)
    if found.diff:
        _write_diff(job, given, found)
    else:
        write_findings(made, given, found)
    tell_rest(made, left.remarks, given, found)
    job.say_summary(left, found)
    return _exit_code(job, left, found)


def _stdin(given: Arguments, found: argparse.Namespace, job: _Job) -> int:
    """Read source, write fixed source (or with --diff the difference); findings are counted, or go to `--output`."""
    from dbsafety.project.fixes import FileFix, fixed_source

    data = sys.stdin.buffer.read()
    name = shown(given.stdin_filename)
    result = RunResult(1)
    if not (given.configuration.settings.force_exclude and is_excluded(name, given.configuration)):
        session = Session.of(given.configuration, [name])
        outcome = fixed_source(data, name, session, unsafe=found.unsafe_fixes)
        job.show(FileFix(name, data, outcome))
        result = replace(result, findings=told(outcome), roots=session.roots)
        data = outcome.new
    made = reported(result, Sources({name: data}), given)
    if found.diff:
        _write_diff(job, given, found)
    else:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        if found.output is not None:
            write_findings(made, given, found)
    tell_rest(made, result.remarks, given, found)
    job.say_summary(result, found)
    return _exit_code(job, result, found)


def _write_diff(job: _Job, given: Arguments, found: argparse.Namespace) -> None:
    style = style_for(sys.stdout, given.color) if found.output is None else Style()
    write((line for file in job.shown for line in diff(file.path, *file.texts, style)), found.output)


def _exit_code(job: _Job, left: RunResult, found: argparse.Namespace) -> int:
    """2 for faults; else 1 for findings left unless `--exit-zero`, and for changed files where it is asked for."""
    if left.faults:
        return FAILED
    changed = job.changed > 0 and (found.exit_non_zero_on_fix or (found.diff and not found.exit_zero))
    return FOUND if changed or (left.findings and not found.exit_zero) else CLEAN


@dataclass(slots=True)
class _Job:
    """What was done so far: how many findings are fixed, which files are changed, what is left in them."""

    quiet: bool
    diff: bool
    fixed: int = 0
    shown: list[FileFix] = field(default_factory=list)
    faults: list[DbsafetyError] = field(default_factory=list)
    _left: dict[str, tuple[Finding, ...]] = field(default_factory=dict)
    _failed: dict[str, str] = field(default_factory=dict)

    @property
    def changed(self) -> int:
        """How many files differ, or would."""
        return len(self.shown)

    def take(self, file: FileFix) -> None:
        """Write a file, or remember what would be written, and what is left."""
        fault = file.fault
        if fault is None and file.changed and not self.diff:
            try:
                file.write()
            except FixRefused as refusal:
                fault = refusal
        if fault is not None:
            self.faults.append(fault)
            self._failed[file.path] = fault.message
            return
        self.show(file)
        self._left[file.path] = told(file.outcome)

    def show(self, file: FileFix) -> None:
        """Count a file's fixes, and say which were made and which were not."""
        self.fixed += len(file.outcome.applied)
        if file.changed:
            self.shown.append(file)
        for finding in file.outcome.applied:
            title = finding.fix.title if finding.fix is not None else ""
            verb = "would fix" if self.diff else "fixed"
            self.note(f"{finding.path}:{finding.span.line}: {verb} {finding.code}: {title}")
        for refusal in file.outcome.refused:
            one = refusal.finding
            self.note(f"{one.path}:{one.span.line}: {one.code} not fixed: {refusal.reason}")

    def left(self, result: RunResult) -> RunResult:
        """The result of the check, with the findings that are left, and with what could not be done."""
        unchanged = (self._kept(finding) for finding in result.findings if finding.path not in self._left)
        remaining = (finding for findings in self._left.values() for finding in findings)
        findings = sorted((*unchanged, *remaining), key=lambda finding: finding.sort_key)
        return replace(result, findings=tuple(findings), faults=(*result.faults, *self.faults))

    def _kept(self, finding: Finding) -> Finding:
        """The finding of a file that was not written, with the reason if it has a fix."""
        reason = self._failed.get(finding.path)
        return finding if reason is None or finding.fix is None else replace(finding, fix_refusal=reason)

    def note(self, text: str) -> None:
        """One line on standard error, unless that is to stay quiet."""
        if not self.quiet:
            say(f"{PROGRAM}: note: {text}")

    def say_summary(self, left: RunResult, found: argparse.Namespace) -> None:
        """One sentence about the run on standard error, with the way to go on where there is one."""
        remaining = len(left.findings)
        if self.quiet or (not self.fixed and not remaining and left.faults):
            return
        if not self.fixed and not remaining:
            say(nothing_found(left.files))
            return
        verb = "Would fix" if self.diff else "Fixed"
        done = f"{verb} {many(self.fixed, 'finding')} in {many(self.changed, 'file')}"
        unsafe = 0 if found.unsafe_fixes else sum(map(_waits_for_consent, left.findings))
        more = f", {unsafe} of them fixable with `--unsafe-fixes`" if unsafe else ""
        say(f"{done}; {remaining} left{more}." if remaining else f"{done}; none left.")


def _waits_for_consent(finding: Finding) -> bool:
    return finding.fix is not None and finding.fix.applicability is Applicability.UNSAFE and not finding.fix_refusal


def told(outcome: FixOutcome) -> tuple[Finding, ...]:
    """What is left of a file, each refused fix with its reason."""
    reasons = {id(refusal.finding): refusal.reason for refusal in outcome.refused}
    return tuple(replace(one, fix_refusal=reasons.get(id(one), one.fix_refusal)) for one in outcome.remaining)
