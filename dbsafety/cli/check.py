"""`dbsafety check`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dbsafety.check.module import check_module
from dbsafety.check.paths import shown
from dbsafety.check.session import Session
from dbsafety.cli.console import PROGRAM, say, style_for, tell, write
from dbsafety.cli.options import Arguments, add_output, add_paths, add_settings, arguments
from dbsafety.cli.records import Sources, report
from dbsafety.config.load import Configuration
from dbsafety.model.faults import UsageFault
from dbsafety.output.formats import WITH_EDITS, written
from dbsafety.output.github import step_summary
from dbsafety.output.record import Report, counts
from dbsafety.output.style import Style
from dbsafety.project.discover import is_excluded
from dbsafety.project.run import RunResult, gathered, run

CLEAN, FOUND, FAILED = 0, 1, 2


def add(to: argparse.ArgumentParser) -> None:
    """Report what is wrong, change nothing."""
    add_paths(to)
    add_settings(to)
    add_output(to)


def command(found: argparse.Namespace) -> int:
    """Check, print, and return the exit code. Raises UsageFault and ConfigFault."""
    given = arguments(found)
    if given.reads_stdin:
        data = sys.stdin.buffer.read()
        name = shown(given.stdin_filename)
        result, sources = check_stdin(data, name, given.configuration), Sources({name: data})
    else:
        result, sources = run(given.paths, given.configuration, found.jobs), Sources()
    made = reported(result, sources, given)
    write_findings(made, given, found)
    tell_rest(made, result.remarks, given, found)
    nothing_done = result.faults and not made.files
    if given.configuration.settings.output_format == "full" and not given.quiet and not nothing_done:
        say(summary(made))
    return exit_code(result, zero=found.exit_zero)


def check_stdin(data: bytes, name: str, configuration: Configuration) -> RunResult:
    """Check what came from standard input under the name of a file, which need not exist."""
    session = Session.of(configuration, [name])
    if configuration.settings.force_exclude and is_excluded(name, configuration):
        return RunResult(0)
    return replace(gathered([check_module(data, name, session, named=True)], 1), roots=session.roots)


def exit_code(result: RunResult, *, zero: bool = False) -> int:
    """2 for faults, 1 for findings unless `zero`, else 0."""
    if result.faults:
        return FAILED
    return FOUND if result.findings and not zero else CLEAN


def reported(result: RunResult, sources: Sources, given: Arguments) -> Report:
    """What there is to say about a run, with the text of fixes where the format shows it."""
    made = report(result, sources)
    shows_edits = given.configuration.settings.output_format in WITH_EDITS
    if not shows_edits or not any(finding.fix is not None for finding in result.findings):
        return made
    # Here, since libcst takes a third of a second to import and only this format shows the text of fixes.
    from dbsafety.cli.edits import with_edits

    session = Session.of(given.configuration, roots=result.roots)
    return replace(made, records=with_edits(made.records, result.findings, sources, session))


def write_findings(made: Report, given: Arguments, found: argparse.Namespace) -> None:
    """Write the findings where they are wanted. Raises UsageFault when they cannot be written."""
    name = given.configuration.settings.output_format
    style = style_for(sys.stdout, given.color) if found.output is None else Style()
    write(written(made, name, style), found.output)
    if name == "github":
        _summarize_step(made)


def tell_rest(made: Report, remarks: Sequence[str], given: Arguments, found: argparse.Namespace) -> None:
    """Say on standard error what is not a finding: faults, notes, and counts where they are asked for."""
    for trouble in made.troubles:
        if trouble.is_fault or not given.quiet:
            tell(trouble)
    if not given.quiet:
        for remark in remarks:
            say(f"{PROGRAM}: note: {remark}")
    if found.statistics:
        for (code, slug), count in counts(made).items():
            say(f"{count:6} {code} {slug}")


def summary(made: Report) -> str:
    """One sentence about the run."""
    files = many(made.files, "file")
    if not made.records:
        return nothing_found(made.files)
    paths = {record.place.path for record in made.records}
    fixes = [one.fix.applicability for one in made.records if one.fix is not None and not one.fix_refusal]
    safe, unsafe = fixes.count("safe"), fixes.count("unsafe")
    sentence = f"{many(len(made.records), 'finding')} in {len(paths)} of {files}"
    parts = [
        *([f"{safe} fixable with `dbsafety fix`"] if safe else []),
        *([f"{unsafe} {'more' if safe else 'fixable'} with `dbsafety fix --unsafe-fixes`"] if unsafe else []),
    ]
    return f"{sentence}; {', '.join(parts)}." if parts else f"{sentence}."


def nothing_found(files: int) -> str:
    """The sentence about a run without findings."""
    return f"No findings in {many(files, 'file')}." if files else "No Python files to check."


def _summarize_step(made: Report) -> None:
    file = os.environ.get("GITHUB_STEP_SUMMARY")
    if not file or not made.records:
        return
    try:
        with Path(file).open("a", encoding="utf-8") as page:
            page.write(step_summary(made))
    except OSError as error:
        raise UsageFault(f"cannot write the step summary: {error.strerror}", file) from error


def many(number: int, noun: str) -> str:
    """The number with the noun in the right form."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
