"""Checks one module: prefilter, parse, rules, settings, suppression, fingerprints. Every face comes through here."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dbsafety.check.adjust import adjusted
from dbsafety.check.fingerprint import fingerprinted
from dbsafety.check.options import rule_options
from dbsafety.check.session import Session
from dbsafety.check.suppress import ALL_KINDS, suppress
from dbsafety.drivers.vocabulary import relevant
from dbsafety.model.faults import DbsafetyError, RuleCrash, SourceFault
from dbsafety.model.finding import Confidence, Finding
from dbsafety.model.span import Span
from dbsafety.rules.dbs001_syntax_error import RULE as SYNTAX_ERROR
from dbsafety.rules.dbs002_unused_suppression import RULE as UNUSED
from dbsafety.rules.dbs004_analysis_incomplete import RULE as INCOMPLETE
from dbsafety.rules.run import run_rules
from dbsafety.source.module import SourceModule
from dbsafety.source.pragmas import PragmaKind
from dbsafety.source.text import SourceText

_OURS = Path(__file__).resolve().parents[1]
"""The folder of the package."""
_TOO_DEEP = "the code is nested too deeply to follow; nothing in this file was checked"


@dataclass(frozen=True, slots=True)
class ModuleResult:
    """What there is to say about one file.

    `findings` are to be shown, `suppressed` were silenced in the code; both sorted. `faults` make the exit code 2.
    `notes` are findings of DBS004, for information.
    """

    path: str
    findings: tuple[Finding, ...] = ()
    suppressed: tuple[Finding, ...] = ()
    faults: tuple[DbsafetyError, ...] = ()
    notes: tuple[Finding, ...] = ()


def worth_parsing(data: bytes) -> bool:
    """Whether a file can have findings: it speaks of databases, or to dbsafety."""
    return relevant(data) or b"dbsafety:" in data


def check_module(
    data: bytes,
    path: str,
    session: Session,
    *,
    kinds: frozenset[PragmaKind] = ALL_KINDS,
    unjudged: frozenset[PragmaKind] = frozenset(),
    named: bool = False,
) -> ModuleResult:
    """Check the bytes of a file; `path` is its name in findings (`paths.shown`).

    `kinds` are the comments to apply here and not in the host; those in `unjudged` are applied without a word about
    unused ones. `named` files are parsed even if nothing in them speaks
    of databases, so that a syntax error is reported. Never raises for what the file holds: what Python cannot parse is
    DBS001, a rule that fails is a RuleCrash among the faults.
    """
    worth_it = worth_parsing(data)
    if not (named or worth_it):
        return ModuleResult(path)
    codes = session.codes_for(path)
    try:
        module = session.trees.parse(data, path)
    except SourceFault as fault:
        return _unparsed(fault, data, path, session, codes)
    if not worth_it:
        return ModuleResult(path)
    return _analysed(module, session, codes, kinds, unjudged)


def _analysed(
    module: SourceModule,
    session: Session,
    codes: frozenset[str],
    kinds: frozenset[PragmaKind],
    unjudged: frozenset[PragmaKind],
) -> ModuleResult:
    settings = session.settings
    findings: tuple[Finding, ...] = ()
    faults: tuple[DbsafetyError, ...] = ()
    notes: tuple[Finding, ...] = ()
    try:
        options = rule_options(settings)
        run = run_rules(module, session.frames, codes, options)
        findings, faults = run.findings, run.crashes
        notes = tuple(INCOMPLETE.at(step.path, step.span, step.note) for step in run.incomplete)
    except RecursionError:
        notes = (INCOMPLETE.at(module.path, Span.line_start(1), _TOO_DEEP),)
    except Exception as error:  # noqa: BLE001 - a defect of dbsafety on one file must not end the run
        faults = (_crash(error, module.path),)
    in_test = session.is_test(module.path)
    wanted = [adjusted(finding, settings, in_test=in_test) for finding in findings if finding.code in codes]
    # Rules that did not run to their end cannot call a suppression unused.
    ran = codes - {UNUSED.code} if faults or notes else codes
    result = suppress(wanted, module, ran, session.known, kinds, unjudged)
    return ModuleResult(
        module.path,
        _finished(result.shown, module.text, settings.min_confidence),
        _finished(result.silenced, module.text, settings.min_confidence),
        faults,
        notes if INCOMPLETE.code in codes else (),
    )


def _finished(findings: Iterable[Finding], text: SourceText, at_least: Confidence) -> tuple[Finding, ...]:
    enough = (finding for finding in findings if finding.confidence.rank >= at_least.rank)
    return fingerprinted(sorted(enough, key=lambda finding: finding.sort_key), text)


def _unparsed(fault: SourceFault, data: bytes, path: str, session: Session, codes: frozenset[str]) -> ModuleResult:
    if SYNTAX_ERROR.code not in codes:
        return ModuleResult(path)
    text = SourceText.of(data.decode("utf-8", "replace"))
    finding = SYNTAX_ERROR.at(path, _code_of_line(max(fault.line, 1), text), fault.message)
    finding = adjusted(finding, session.settings, in_test=False)
    return ModuleResult(path, fingerprinted((finding,), text))


def _code_of_line(line: int, text: SourceText) -> Span:
    """What stands on a line, without the blanks around it; an empty span for an empty line."""
    code = text.line(line).rstrip()
    start = len(code) - len(code.lstrip())
    return Span(line, text.utf8_column(line, start), line, text.utf8_column(line, len(code)))


def _crash(error: Exception, path: str) -> RuleCrash:
    """One line that says where in dbsafety it happened: the innermost of our own frames."""
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if _OURS in Path(frame.filename).parents]
    place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
    return RuleCrash(f"{INCOMPLETE.code} internal error in {place}: {type(error).__name__}: {error}", path)
