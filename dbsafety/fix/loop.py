"""Fixes one file: choose plans that lie apart, carry them out, verify, and go round again until nothing changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from dbsafety.fix.footprint import Footprint, footprint
from dbsafety.fix.locate import ParsedFile
from dbsafety.fix.names import require_bound
from dbsafety.fix.realize import Hunk, Realised, realise
from dbsafety.fix.tree import TreeIndex, missing_imports
from dbsafety.fix.verify import parsed_again, require_comments, require_mended, require_planned_tree
from dbsafety.model.faults import DbsafetyError, FixRefused
from dbsafety.model.finding import Finding
from dbsafety.model.rewrite import Applicability, FixPlan, Rewrite
from dbsafety.source.module import parse_tree
from dbsafety.source.text import SourceText

MAX_ROUNDS = 10
_NO_OVERRIDES: Mapping[str, Applicability] = MappingProxyType({})

Check = Callable[[bytes], Sequence[Finding]]
"""Checks the bytes of the file being fixed; raises DbsafetyError when it cannot, a crashed rule included."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A finding that has a fix, or could have had one, and why it was not made."""

    finding: Finding
    reason: str


@dataclass(frozen=True, slots=True)
class FixOutcome:
    """What became of a file: its bytes, what was mended, what was refused, and what is found in the new bytes.

    Spans of `applied` are those of the old bytes (near by, for a finding whose lines an earlier round changed), spans
    of `refused` and `remaining` those of `new`. A finding whose fix is unsafe and was not asked for is in `remaining`
    only.
    """

    new: bytes
    applied: tuple[Finding, ...] = ()
    refused: tuple[Refusal, ...] = ()
    remaining: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A plan with the findings it mends: several rules may ask for the same change."""

    plan: FixPlan
    findings: tuple[Finding, ...]
    footprint: Footprint

    @property
    def order(self) -> tuple[int, bool]:
        return self.footprint.start, self.plan.applicability is not Applicability.SAFE


def fix_file(
    data: bytes,
    path: str,
    check: Check,
    *,
    unsafe: bool,
    overrides: Mapping[str, Applicability] = _NO_OVERRIDES,
) -> FixOutcome:
    """Apply the fixes of a file's findings: the safe ones, with `unsafe` those too, never the display-only ones.

    `overrides` grades the fixes of a code, or of all codes that begin so, anew. Every change passes all gates of
    `verify` or is not made; the rest of the file's fixes goes on without it. Raises what `check` raises for `data`.
    """
    applied: list[Finding] = []
    history: list[tuple[Hunk, ...]] = []
    current, findings = data, tuple(check(data))
    for _ in range(MAX_ROUNDS):
        refused: list[Refusal] = [Refusal(one, one.fix_refusal) for one in findings if one.fix_refusal]
        wanted, display = _wanted(findings, unsafe=unsafe, overrides=overrides)
        refused += [Refusal(one, "this fix is a suggestion to be looked at, not to be applied") for one in display]
        if not wanted:
            return FixOutcome(current, tuple(applied), tuple(refused), findings)
        done = _one_round(current, path, check, findings, wanted)
        if not done.mended:
            return FixOutcome(current, tuple(applied), (*refused, *done.refused), findings)
        applied += [_as_it_was(finding, history) for finding in done.mended]
        history.append(done.hunks)
        current, findings = done.data, done.findings
    reason = f"the fixes of this file did not settle in {MAX_ROUNDS} rounds; nothing in it was changed"
    before = tuple(check(data))
    return FixOutcome(data, (), tuple(Refusal(one, reason) for one in before if one.fix), before)


def refused_alone(data: bytes, path: str, check: Check) -> Mapping[tuple[Rewrite, ...], str]:
    """The plans for a file that a gate stops, by their rewrites, with the reason, each as if it were the only one made.

    Plans that lie apart are tried together, so that a file is checked a few times, not once for each. Raises what
    `check` raises for `data`.
    """
    findings = tuple(check(data))
    waiting = [one for one in findings if one.fix is not None and not one.fix_refusal]
    reasons: dict[tuple[Rewrite, ...], str] = {}
    while waiting:
        done = _one_round(data, path, check, findings, waiting)
        reasons.update((one.finding.fix.rewrites, one.reason) for one in done.refused if one.finding.fix is not None)
        settled = {id(one) for one in (*done.mended, *(refusal.finding for refusal in done.refused))}
        waiting = [one for one in waiting if id(one) not in settled]
    return reasons


def _wanted(
    findings: Iterable[Finding], *, unsafe: bool, overrides: Mapping[str, Applicability]
) -> tuple[list[Finding], list[Finding]]:
    """The findings whose fix is to be made, and those whose fix is for display."""
    admitted = {Applicability.SAFE, Applicability.UNSAFE} if unsafe else {Applicability.SAFE}
    wanted, display = [], []
    for finding in findings:
        if finding.fix is None:
            continue
        names = [name for name in overrides if finding.code.startswith(name)]
        grade = overrides[max(names, key=len)] if names else finding.fix.applicability
        if grade is Applicability.DISPLAY:
            display.append(finding)
        elif grade in admitted:
            wanted.append(finding)
    return wanted, display


@dataclass(frozen=True, slots=True)
class _Done:
    """What a round achieved."""

    data: bytes
    findings: tuple[Finding, ...]
    mended: tuple[Finding, ...] = ()
    refused: tuple[Refusal, ...] = ()
    hunks: tuple[Hunk, ...] = ()


def _as_it_was(finding: Finding, history: Sequence[Sequence[Hunk]]) -> Finding:
    """The finding with the lines it had before the rounds of `history`."""
    line = finding.span.line
    for hunks in reversed(history):
        line = _old_line(line, hunks)
    span = finding.span
    return replace(finding, span=replace(span, line=line, end_line=line + span.end_line - span.line))


def _old_line(line: int, hunks: Sequence[Hunk]) -> int:
    shift = 0
    for hunk in hunks:
        if hunk.new_start < line <= hunk.new_end:
            return max(1, min(hunk.old_end, hunk.old_start + line - hunk.new_start))
        if hunk.new_end < line:
            shift = hunk.old_end - hunk.new_end
    return line + shift


def _one_round(data: bytes, path: str, check: Check, findings: tuple[Finding, ...], wanted: Sequence[Finding]) -> _Done:
    try:
        text = SourceText.decode(data, path)
        batch = _Round(ParsedFile.parse(text), check, findings)
    except DbsafetyError as fault:
        return _Done(data, findings, refused=tuple(Refusal(one, fault.message) for one in wanted))
    return batch.run(wanted)


class _Round:
    """One pass over a file: every plan is tried, those that lie apart together."""

    def __init__(self, parsed: ParsedFile, check: Check, findings: tuple[Finding, ...]) -> None:
        self._parsed = parsed
        self._check = check
        self._findings = findings
        self._accepted: list[_Candidate] = []
        self._refused: list[Refusal] = []
        self._data = parsed.text.data
        self._after = findings
        self._hunks: tuple[Hunk, ...] = ()

    def run(self, wanted: Sequence[Finding]) -> _Done:
        """Settle all that can be settled in this round; what meets an accepted plan waits for the next."""
        pending = self._candidates(wanted)
        while batch := self._apart(pending):
            pending = [candidate for candidate in pending if candidate not in batch]
            self._settle(batch)
        mended = tuple(finding for candidate in self._accepted for finding in candidate.findings)
        return _Done(self._data, self._after, mended, tuple(self._refused), self._hunks)

    def _candidates(self, wanted: Sequence[Finding]) -> list[_Candidate]:
        index = TreeIndex(parse_tree(self._parsed.text, ""))
        same: dict[tuple[object, ...], list[Finding]] = {}
        for finding in wanted:
            if finding.fix is not None:
                same.setdefault(finding.fix.rewrites, []).append(finding)
        found = []
        for members in same.values():
            plan = members[0].fix
            try:
                if plan is not None:
                    lines = footprint(plan, index, self._parsed.text)
                    found.append(_Candidate(plan, tuple(members), lines))
            except FixRefused as refusal:
                self._refuse(members, refusal)
        return sorted(found, key=lambda candidate: candidate.order)

    def _apart(self, pending: Iterable[_Candidate]) -> list[_Candidate]:
        chosen: list[_Candidate] = []
        for candidate in pending:
            if not any(candidate.footprint.meets(other.footprint) for other in (*self._accepted, *chosen)):
                chosen.append(candidate)
        return chosen

    def _settle(self, batch: Sequence[_Candidate]) -> None:
        """Accept the batch as a whole if it passes; else halve it, until the plans at fault stand alone."""
        try:
            realised, after = self._attempt([*self._accepted, *batch])
        except DbsafetyError as fault:
            if len(batch) == 1:
                self._refuse(batch[0].findings, fault)
                return
            middle = len(batch) // 2
            self._settle(batch[:middle])
            self._settle(batch[middle:])
        else:
            self._accepted.extend(batch)
            self._data, self._after, self._hunks = realised.data, after, realised.hunks

    def _refuse(self, findings: Iterable[Finding], fault: DbsafetyError) -> None:
        self._refused += [Refusal(finding, fault.message) for finding in findings]

    def _attempt(self, candidates: Sequence[_Candidate]) -> tuple[Realised, tuple[Finding, ...]]:
        """Carry out the plans of these candidates and pass the gates. Raises FixRefused at the first that is shut."""
        text = self._parsed.text
        plans = [candidate.plan for candidate in candidates]
        old = parse_tree(text, "")
        imports = missing_imports(old, plans)
        realised = realise(self._parsed, plans, imports, [candidate.footprint for candidate in candidates])
        if not realised.edits:
            raise FixRefused("the fix changes nothing")
        new_text, new = parsed_again(realised, text)
        require_bound(old, new)
        require_planned_tree(old, plans, imports, new)
        require_comments(text, new_text, plans)
        after = tuple(self._check(realised.data))
        targets = [finding for candidate in candidates for finding in candidate.findings]
        require_mended(self._findings, targets, realised.hunks, after)
        return realised, after
