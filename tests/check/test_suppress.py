"""Comments that silence findings, and findings about such comments."""

from __future__ import annotations

import pytest

from dbsafety.check.suppress import ALL_KINDS, OWN_ONLY, Suppressed, suppress
from dbsafety.facts.program import Program
from dbsafety.model.finding import Finding
from dbsafety.model.rewrite import DeleteComment
from dbsafety.source.module import SourceModule
from dbsafety.source.pragmas import PragmaKind
from dbsafety.typestate.frame import Frames
from dbsafety.typestate.memory import Memory
from tests.check.stub import run_rules

KNOWN = frozenset({"DBS001", "DBS002", "DBS003", "DBS101", "DBS102", "DBS201"})


def suppressed(
    source: str, ran: frozenset[str] = KNOWN, kinds: frozenset[PragmaKind] = ALL_KINDS
) -> tuple[SourceModule, Suppressed]:
    module = SourceModule.parse(source.encode(), "f.py")
    findings = run_rules(module, Frames(Memory(Program())), ran).findings
    return module, suppress(findings, module, ran, KNOWN, kinds)


def shown(source: str, ran: frozenset[str] = KNOWN, kinds: frozenset[PragmaKind] = ALL_KINDS) -> list[str]:
    _, result = suppressed(source, ran, kinds)
    return [f"{finding.span.line} {finding.code} {finding.message}" for finding in result.shown]


@pytest.mark.parametrize(
    "source",
    [
        'bug("DBS101")  # dbsafety: ignore[DBS101]',
        'bug("DBS101")  # dbsafety: ignore[DBS101] the caller rolls back',
        'bug(\n    "DBS101",\n)  # dbsafety: ignore[DBS101]',
        'bug(  # dbsafety: ignore[DBS101]\n    "DBS101",\n)',
        'x = [\n    1,  # dbsafety: ignore[DBS101]\n    bug("DBS101"),\n]',
        'with bug("DBS101") as a, \\\n     b as c:  # dbsafety: ignore[DBS101]\n    pass',
        'bug("DBS101")  # noqa',
        'bug("DBS101")  # NOQA: dbs101',
        'bug("DBS101")  # noqa: E501, DBS101',
        'bug("DBS101")  # noqa: DBS1',
        'bug("DBS101")  # noqa:DBS',
        'bug("DBS101")  # pylint: disable=dbs-swallowed-error-no-rollback',
        '# dbsafety: ignore-file[DBS101]\nbug("DBS101")',
        'bug("DBS101")\n# flake8: noqa',
        'bug("DBS101")\n# flake8: noqa: DBS101',
    ],
)
def test_silences(source: str) -> None:
    _, result = suppressed(source + "\n")

    assert (result.shown, [finding.code for finding in result.silenced]) == ((), ["DBS101"])


@pytest.mark.parametrize(
    "source",
    [
        'if bug("DBS101"):\n    pass  # noqa',
        '# noqa\nbug("DBS101")',
        'bug("DBS101")  # pylint: disable=line-too-long',
        'bug("DBS101")  # noqa: E501',
        'bug("DBS101")  # noqa: DBS102',
    ],
)
def test_does_not_silence(source: str) -> None:
    assert "it is wrong" in " ".join(shown(source + "\n", KNOWN - {"DBS002"}))


def test_another_statement_on_the_same_line_is_silenced_too() -> None:
    _, result = suppressed('a = 1; bug("DBS101")  # dbsafety: ignore[DBS101]\n')

    assert len(result.silenced) == 1


def test_an_except_clause() -> None:
    source = 'try:\n    pass\nexcept (\n    bug("DBS101")\n):  # dbsafety: ignore[DBS101]\n    pass\n'

    assert shown(source) == []


def test_only_own_comments_where_the_host_applies_its_own() -> None:
    source = 'bug("DBS101")  # noqa: DBS101\nbug("DBS102")  # dbsafety: ignore[DBS102]\nx = 1  # noqa: DBS201, DBS999\n'

    assert shown(source, kinds=OWN_ONLY) == ["1 DBS101 it is wrong"]


@pytest.mark.parametrize(
    ("source", "message", "left"),
    [
        ("x = 1  # dbsafety: ignore[DBS101]", "`DBS101` silences nothing here", "x = 1  "),
        ("x = 1  # dbsafety: ignore[DBS101] why", "`DBS101` silences nothing here", "x = 1  "),
        (
            "x = 1  # dbsafety: ignore[DBS101, DBS102]",
            "`DBS101`, `DBS102` silence nothing here",
            "x = 1  ",
        ),
        (
            'bug("DBS101")  # dbsafety: ignore[DBS101, DBS102] why',
            "`DBS102` silences nothing here",
            'bug("DBS101")  # dbsafety: ignore[DBS101] why',
        ),
        ("x = 1  # noqa: DBS101", "`DBS101` silences nothing here", "x = 1  "),
        ("x = 1  # noqa: dbs101", "`dbs101` silences nothing here", "x = 1  "),
        ("x = 1  # noqa: E501,DBS101 # more", "`DBS101` silences nothing here", "x = 1  # noqa: E501 # more"),
        ("x = 1  # noqa: DBS101 # type: x", "`DBS101` silences nothing here", "x = 1  # type: x"),
        ("é = 1  # dbsafety: ignore[DBS101] # é", "`DBS101` silences nothing here", "é = 1  # é"),
        ("# dbsafety: ignore-file[DBS201]", "`DBS201` silences nothing here", ""),
        (
            "\n" * 10 + 'bug("DBS101")\n# dbsafety: ignore-file[DBS101]',
            "`ignore-file` has an effect only in the first 10 lines of a file",
            "\n" * 10 + 'bug("DBS101")\n',
        ),
    ],
)
def test_unused_suppression(source: str, message: str, left: str) -> None:
    module, result = suppressed(source)

    (finding,) = (finding for finding in result.shown if finding.code == "DBS002")
    assert finding.message == message
    assert _without(module, finding) == left


def _without(module: SourceModule, finding: Finding) -> str:
    """The source with the comment's part replaced as the plan says, blanks before it left to the recipe."""
    assert finding.fix is not None
    (rewrite,) = finding.fix.rewrites
    assert isinstance(rewrite, DeleteComment)
    text = module.text
    start = text.index(rewrite.span.line, rewrite.span.col)
    end = text.index(rewrite.span.end_line, rewrite.span.end_col)
    return text.text[:start] + rewrite.replacement + text.text[end:]


@pytest.mark.parametrize(
    ("source", "ran"),
    [
        ("x = 1  # noqa", KNOWN),
        ("x = 1  # noqa: E501", KNOWN),
        ("x = 1  # noqa: DBS1", KNOWN),
        ("x = 1  # dbsafety: ignore[DBS101]", KNOWN - {"DBS101"}),
        ("x = 1  # dbsafety: ignore[DBS101]", KNOWN - {"DBS002"}),
        ("x = 1  # dbsafety: ignore[DBS001]", KNOWN),
        ("x = 1  # pylint: disable=dbs-swallowed-error-no-rollback", KNOWN),
        ("x = 1  # dbsafety: ignore[DBS002, DBS101]", KNOWN),
    ],
)
def test_comments_that_are_not_judged(source: str, ran: frozenset[str]) -> None:
    assert shown(source, ran) == []


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1  # dbsafety: ignore[DBS1O1]", "no rule has the code 'DBS1O1'; did you mean 'DBS101'?"),
        ("x = 1  # dbsafety: ignore[E501]", "no rule has the code 'E501'"),
        (
            "x = 1  # dbsafety: ignore[stale-lastrowid]",
            "no rule has the code 'stale-lastrowid'; did you mean 'DBS301'?",
        ),
        ("x = 1  # dbsafety: ignore[DBS1]", "no rule has the code 'DBS1'"),
        ("x = 1  # noqa: DBS999", "no rule has the code 'DBS999'"),
        ("x = 1  # dbsafety: ignore", "`# dbsafety: ignore` silences nothing; write `# dbsafety: ignore[CODE]`"),
        (
            "x = 1  # dbsafety: ignore-file",
            "`# dbsafety: ignore-file` silences nothing; write `# dbsafety: ignore-file[CODE]`",
        ),
        (
            "x = 1  # dbsafety: ignore DBS101, dbs102 why",
            "`# dbsafety: ignore DBS101, dbs102 why` silences nothing; write `# dbsafety: ignore[DBS101, DBS102]`",
        ),
        (
            "x = 1  # dbsafety: disable[DBS101]  # noqa: E501",
            "`# dbsafety: disable[DBS101]` silences nothing; write `# dbsafety: ignore[DBS101]`",
        ),
    ],
)
def test_unknown_code(source: str, message: str) -> None:
    (finding,) = shown(source)

    assert finding.startswith(f"1 DBS003 {message}")


def test_unknown_code_is_quiet_when_its_rule_does_not_run() -> None:
    assert shown("x = 1  # dbsafety: ignore[DBS999]", KNOWN - {"DBS003"}) == []
