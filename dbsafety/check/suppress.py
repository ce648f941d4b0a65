"""Applies suppression comments to findings, and judges the comments: unused codes, unknown codes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from dbsafety.check.headers import Headers
from dbsafety.config.select import did_you_mean
from dbsafety.model.finding import Finding
from dbsafety.model.rewrite import Applicability, DeleteComment, FixPlan
from dbsafety.rules.dbs002_unused_suppression import RULE as UNUSED
from dbsafety.rules.dbs003_unknown_code import RULE as UNKNOWN
from dbsafety.rules.registry import RETIRED, all_rules
from dbsafety.source.module import SourceModule
from dbsafety.source.pragmas import FILE_PRAGMA_LINES, Pragma, PragmaKind, codes_in, misplaced

PREFIX = "DBS"
ALL_KINDS = frozenset(PragmaKind)
OWN_ONLY = frozenset({PragmaKind.OWN})
"""For faces whose host applies its own comments."""


@dataclass(frozen=True, slots=True)
class Suppressed:
    """Findings after the comments were applied: those to show, and those a comment silences."""

    shown: tuple[Finding, ...]
    silenced: tuple[Finding, ...]


def suppress(
    findings: Sequence[Finding],
    module: SourceModule,
    ran: frozenset[str],
    known: frozenset[str],
    kinds: frozenset[PragmaKind] = ALL_KINDS,
    unjudged: frozenset[PragmaKind] = frozenset(),
) -> Suppressed:
    """Split `findings` by the module's comments of these kinds, and add DBS002 and DBS003 where they are among `ran`.

    Comments of the kinds `unjudged` silence too, but are another tool's, so nothing is said about them. `ran` are the
    codes whose rules ran on this file, `known` all codes that exist.
    """
    pragmas = tuple(pragma for pragma in module.pragmas.pragmas if pragma.kind in kinds)
    applied = kinds | unjudged
    if not any(pragma.kind in applied for pragma in module.pragmas.pragmas):
        return Suppressed(tuple(findings), ())
    headers = Headers(module)
    used: set[tuple[Pragma, str]] = set()
    judged = _split(findings, module, headers, applied, used)
    about = [
        finding
        for pragma in pragmas
        for finding in (*_unused(pragma, module, ran & known, used), *_unknown(pragma, module, known))
        if finding.code in ran
    ]
    own = _split(about, module, headers, applied, used)
    return Suppressed((*judged.shown, *own.shown), (*judged.silenced, *own.silenced))


def _split(
    findings: Iterable[Finding],
    module: SourceModule,
    headers: Headers,
    kinds: frozenset[PragmaKind],
    used: set[tuple[Pragma, str]],
) -> Suppressed:
    shown: list[Finding] = []
    silenced: list[Finding] = []
    for finding in findings:
        candidates = (*module.pragmas.at(headers.of(finding.span.line)), *module.pragmas.for_file())
        hits = [(p, word) for p in candidates if p.kind in kinds for word in _words_for(p, finding)]
        used.update(hits)
        (silenced if hits else shown).append(finding)
    return Suppressed(tuple(shown), tuple(silenced))


def _words_for(pragma: Pragma, finding: Finding) -> Iterator[str]:
    """The words of the pragma that silence the finding; "" for a `noqa` that names none."""
    match pragma.kind:
        case PragmaKind.OWN:
            yield from (word for word in pragma.codes if word == finding.code)
        case PragmaKind.NOQA:
            if not pragma.codes:
                yield ""
            # flake8 compares beginnings, in any case.
            yield from (word for word in pragma.codes if finding.code.startswith(word.upper()))
        case PragmaKind.PYLINT:
            yield from (word for word in pragma.codes if word == f"dbs-{finding.slug}")


def _unused(
    pragma: Pragma, module: SourceModule, ran: frozenset[str], used: set[tuple[Pragma, str]]
) -> Iterator[Finding]:
    if pragma.kind is PragmaKind.PYLINT:
        return
    words = [word for word in pragma.codes if _judged(word, pragma) in ran and (pragma, word) not in used]
    if not words:
        return
    if misplaced(pragma):
        message = f"`ignore-file` has an effect only in the first {FILE_PRAGMA_LINES} lines of a file"
    else:
        listed = ", ".join(f"`{word}`" for word in words)
        message = f"{listed} {'silences' if len(words) == 1 else 'silence'} nothing here"
    rest = [word for word in pragma.codes if word not in words]
    plan = FixPlan(
        f"remove {', '.join(words)}" if rest else "remove the comment",
        Applicability.SAFE,
        (DeleteComment(pragma.codes_span, ", ".join(rest)) if rest else DeleteComment(pragma.span),),
    )
    yield UNUSED.at(module.path, pragma.span, message, fix=plan)


def _judged(word: str, pragma: Pragma) -> str:
    """The code a word stands for if it can be judged unused, "" if not: the tool's own codes cannot."""
    code = word.upper() if pragma.kind is PragmaKind.NOQA else word
    return "" if code.startswith(f"{PREFIX}0") else code


def _unknown(pragma: Pragma, module: SourceModule, known: frozenset[str]) -> Iterator[Finding]:
    if pragma.kind is PragmaKind.OWN and not pragma.codes:
        yield _unread(pragma, module)
    for word in pragma.codes:
        if _is_unknown(word, pragma.kind, known):
            reason = f"; {RETIRED[word]}" if word in RETIRED else _meant(word, known)
            yield UNKNOWN.at(module.path, pragma.codes_span, f"no rule has the code {word!r}{reason}")


def _unread(pragma: Pragma, module: SourceModule) -> Finding:
    """A comment that is meant to silence something, with the form that would."""
    form = "ignore-file" if pragma.whole_file else "ignore"
    codes = ", ".join(codes_in(pragma.reason)) or "CODE"
    what = f"`{module.text.slice(pragma.span).strip()}` silences nothing"
    return UNKNOWN.at(module.path, pragma.span, what, remedy=f"write `# dbsafety: {form}[{codes}]`")


def _meant(word: str, known: frozenset[str]) -> str:
    """The hint at the code that is meant: that of the rule with this name, else the nearest one."""
    named = next((module.rule.code for module in all_rules() if module.rule.slug == word), "")
    return f"; did you mean {named!r}?" if named else did_you_mean(word, known)


def _is_unknown(word: str, kind: PragmaKind, known: frozenset[str]) -> bool:
    match kind:
        case PragmaKind.OWN:
            return word not in known
        case PragmaKind.NOQA:
            code = word.upper()
            return code.startswith(PREFIX) and not any(existing.startswith(code) for existing in known)
        case PragmaKind.PYLINT:
            return False
