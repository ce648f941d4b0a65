"""The gates a changed file passes before it may be written; each refuses with a reason."""

from __future__ import annotations

import ast
import io
import tokenize
from collections import Counter
from collections.abc import Iterable, Sequence

from dbsafety.fix.expected import difference
from dbsafety.fix.realize import Hunk, Realised
from dbsafety.model.faults import FixRefused, SourceFault
from dbsafety.model.finding import Finding
from dbsafety.model.rewrite import DeleteComment, EnsureImport, FixPlan
from dbsafety.source.module import parse_tree
from dbsafety.source.text import SourceText


def parsed_again(realised: Realised, old: SourceText) -> tuple[SourceText, ast.Module]:
    """Gate 1: the new bytes decode as before and parse. Returns their text and tree."""
    try:
        text = SourceText.decode(realised.data)
        tree = parse_tree(text, "")
    except SourceFault as fault:
        raise FixRefused(f"the changed code would not parse: {fault.message}") from fault
    if (text.encoding, text.bom) != (old.encoding, old.bom):
        raise FixRefused("the change would alter the file's encoding")
    return text, tree


def require_planned_tree(
    old: ast.Module, plans: Sequence[FixPlan], imports: Iterable[EnsureImport], new: ast.Module
) -> None:
    """Gate 2: outside the edits the tree is the same, inside them it is what was planned. Changes both trees."""
    try:
        reason = difference(old, plans, imports, new)
    except RecursionError as error:
        raise FixRefused("the code is nested too deeply to be compared") from error
    if reason:
        raise FixRefused(reason)


def require_comments(old: SourceText, new: SourceText, plans: Iterable[FixPlan]) -> None:
    """Gate 3: every comment is still there, but for those that the plans change."""
    deletions = [item for plan in plans for item in plan.rewrites if isinstance(item, DeleteComment)]
    lost = Counter(_comments(old, deletions)) - Counter(_comments(new, ()))
    if lost:
        raise FixRefused(f"the comment {next(iter(lost))!r} would be lost")


def require_mended(
    before: Sequence[Finding], targets: Sequence[Finding], hunks: Sequence[Hunk], after: Sequence[Finding]
) -> None:
    """Gate 4: what was to be mended is gone, and nothing is found that was not found before.

    Suppressions still bite: a finding they no longer silence would be new. Findings are matched by code, enclosing
    function and place, where a place is a line as it has moved, or a changed region as a whole.
    """
    allowed = Counter(_place(finding, hunks) for finding in before if finding not in targets)
    wanted = Counter(_place(finding, hunks) for finding in targets)
    for finding in after:
        place = _new_place(finding, hunks)
        if allowed[place] > 0:
            allowed[place] -= 1
            continue
        if wanted[place] > 0:
            raise FixRefused(f"{finding.code} would still be found at line {finding.span.line}")
        raise FixRefused(f"{finding.code} would be found at line {finding.span.line}: {finding.message}")


def _place(finding: Finding, hunks: Sequence[Hunk]) -> tuple[str, str, str]:
    """The place of a finding in the old text, as it should be called in the new."""
    line, shift = finding.span.line, 0
    for number, hunk in enumerate(hunks):
        if hunk.old_start < line <= hunk.old_end:
            return finding.code, finding.scope, f"hunk {number}"
        if hunk.old_end < line:
            shift += (hunk.new_end - hunk.new_start) - (hunk.old_end - hunk.old_start)
    return finding.code, finding.scope, f"line {line + shift}"


def _new_place(finding: Finding, hunks: Sequence[Hunk]) -> tuple[str, str, str]:
    line = finding.span.line
    for number, hunk in enumerate(hunks):
        if hunk.new_start < line <= hunk.new_end:
            return finding.code, finding.scope, f"hunk {number}"
    return finding.code, finding.scope, f"line {line}"


def _comments(text: SourceText, deletions: Sequence[DeleteComment]) -> list[str]:
    """The text of each comment, after the deletions."""
    stream = io.StringIO("\n".join(text.lines()) + "\n", newline="\n")
    try:
        tokens = [token for token in tokenize.generate_tokens(stream.readline) if token.type == tokenize.COMMENT]
    except (tokenize.TokenError, SyntaxError) as error:
        raise FixRefused("the comments of the file cannot be read") from error
    return [comment for comment in (_after(token, text, deletions) for token in tokens) if comment]


def _after(token: tokenize.TokenInfo, text: SourceText, deletions: Iterable[DeleteComment]) -> str:
    comment, (line, column) = token.string, token.start
    for item in deletions:
        if item.span.line == line:
            start = text.character_column(line, item.span.col) - column
            end = text.character_column(line, item.span.end_col) - column
            comment = comment[:start] + item.replacement + comment[end:]
    return comment.strip()
