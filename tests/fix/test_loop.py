"""The loop: what is chosen, what is kept when one plan fails, and the reasons given."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence

import pytest

from dbsafety.fix import loop
from dbsafety.fix.loop import FixOutcome, fix_file
from dbsafety.fix.realize import Hunk
from dbsafety.fix.recipes import rewritten
from dbsafety.model.faults import RuleCrash, SourceFault
from dbsafety.model.finding import Finding
from dbsafety.model.rewrite import (
    Applicability,
    EnsureImport,
    FixPlan,
    InsertFirst,
    ReplaceExpression,
    SetHandlerType,
    SetKeyword,
    WrapInWith,
)
from dbsafety.model.span import Span
from dbsafety.source.module import NEWER_PYTHON
from tests.fix.planning import finding, handler, nodes, once, plan, span, swallowing_handlers

THREE = """\
def a():
    try: f()
    except E: pass


def b():
    try: f()
    except E: pass


def c():
    try: f()
    except E: pass
"""


def run(source: str, check: Callable[[bytes], Sequence[Finding]], *, unsafe: bool = False) -> FixOutcome:
    return fix_file(source.encode(), "m.py", check, unsafe=unsafe)


def reasons(outcome: FixOutcome) -> list[str]:
    return [refusal.reason for refusal in outcome.refused]


def keyword_plan(source: str, name: str = "x", grade: Applicability = Applicability.SAFE) -> FixPlan:
    return plan(SetKeyword(span(source, "f(", ast.Call), name, "1"), grade=grade)


@pytest.mark.parametrize(
    ("grade", "unsafe", "overrides", "changed"),
    [
        (Applicability.SAFE, False, {}, True),
        (Applicability.UNSAFE, False, {}, False),
        (Applicability.UNSAFE, True, {}, True),
        (Applicability.DISPLAY, True, {}, False),
        (Applicability.UNSAFE, False, {"DBS101": Applicability.SAFE}, True),
        (Applicability.SAFE, False, {"DBS1": Applicability.UNSAFE, "DBS101": Applicability.SAFE}, True),
        (Applicability.SAFE, False, {"DBS1": Applicability.UNSAFE}, False),
        (Applicability.SAFE, True, {"DBS101": Applicability.DISPLAY}, False),
        (Applicability.UNSAFE, False, {"DBS2": Applicability.SAFE}, False),
    ],
)
def test_only_admitted_grades_are_applied(
    grade: Applicability, unsafe: bool, overrides: dict[str, Applicability], changed: bool
) -> None:
    source = "f()\n"
    check = once(source, keyword_plan(source, grade=grade))
    outcome = fix_file(source.encode(), "m.py", check, unsafe=unsafe, overrides=overrides)
    assert outcome.new == (b"f(x=1)\n" if changed else source.encode())
    assert len(outcome.applied) == changed
    assert len(outcome.remaining) == (not changed)


def test_display_only_fix_is_refused_with_the_reason() -> None:
    source = "f()\n"
    outcome = run(source, once(source, keyword_plan(source, grade=Applicability.DISPLAY)), unsafe=True)
    assert reasons(outcome) == ["this fix is a suggestion to be looked at, not to be applied"]


def test_reason_of_the_rule_is_handed_on() -> None:
    outcome = run("f()\n", lambda _: (finding(Span(1, 0, 1, 3), None, refusal="in a loop, commit outside"),))
    assert reasons(outcome) == ["in a loop, commit outside"]


def test_nothing_to_do_leaves_the_bytes_alone() -> None:
    outcome = run("f()\n", lambda _: ())
    assert outcome == FixOutcome(b"f()\n")


def test_one_bad_plan_does_not_keep_the_others_back() -> None:
    def check(data: bytes) -> Sequence[Finding]:
        found = swallowing_handlers(data)
        inside_b = data.decode().partition("def b")[2].partition("def c")[0]
        if "rollback" in inside_b:
            found += (finding(Span(1, 0, 1, 1), None, code="DBS108"),)
        return found

    outcome = run(THREE, check)
    assert outcome.new.decode() == THREE.replace(
        "def a():\n    try: f()\n    except E: pass",
        "def a():\n    try: f()\n    except E:\n        conn.rollback()",
    ).replace(
        "def c():\n    try: f()\n    except E: pass",
        "def c():\n    try: f()\n    except E:\n        conn.rollback()",
    )
    assert [one.scope for one in outcome.applied] == [".a", ".c"]
    assert [(one.finding.scope, one.reason) for one in outcome.refused] == [
        (".b", "DBS108 would be found at line 1: it is wrong")
    ]
    assert [one.scope for one in outcome.remaining] == [".b"]


def test_finding_that_stays_is_refused() -> None:
    source = "f()\n"
    fixed = (finding(Span(1, 0, 1, 3), keyword_plan(source)),)
    assert reasons(run(source, lambda _: fixed)) == ["DBS101 would still be found at line 1"]


def test_moved_findings_are_not_new() -> None:
    source = f"{THREE}g(  # stays\n)\n"

    def check(data: bytes) -> Sequence[Finding]:
        line = data.decode()[: data.decode().index("# stays")].count("\n") + 1
        return (*swallowing_handlers(data), finding(Span(line, 0, line, 1), None, code="DBS204"))

    outcome = run(source, check)
    assert len(outcome.applied) == 3
    assert [one.code for one in outcome.remaining] == ["DBS204"]


def test_another_finding_of_the_changed_line_may_stay() -> None:
    source = "conn = f()\n"
    leak = finding(Span(1, 0, 1, 4), None, code="DBS204")
    mend = finding(Span(1, 7, 1, 10), keyword_plan(source), code="DBS201")
    outcome = run(source, lambda data: (leak, mend) if b"x=1" not in data else (leak,))
    assert outcome.new == b"conn = f(x=1)\n"
    assert outcome.remaining == (leak,)


def test_a_second_finding_of_the_same_code_in_the_changed_line_is_new() -> None:
    source = "conn = f()\n"
    mend = finding(Span(1, 7, 1, 10), keyword_plan(source), code="DBS201")
    other = finding(Span(1, 0, 1, 4), None, code="DBS204")
    outcome = run(source, lambda data: (other, other) if b"x=1" in data else (other, mend))
    assert reasons(outcome) == ["DBS204 would be found at line 1: it is wrong"]
    assert outcome.new == source.encode()


def test_suppression_that_no_longer_bites_refuses_the_fix() -> None:
    source = "try: f()  # quiet\nexcept E: pass\n"

    def check(data: bytes) -> Sequence[Finding]:
        found = swallowing_handlers(data)
        return found if b"pass" in data else (*found, finding(Span(1, 0, 1, 1), None, code="DBS204"))

    assert reasons(run(source, check)) == ["DBS204 would be found at line 1: it is wrong"]


def test_plans_on_the_same_lines_take_turns() -> None:
    source = "f()\n"
    both = (("xx", "DBS101"), ("yy", "DBS102"))

    def check(data: bytes) -> Sequence[Finding]:
        text = data.decode()
        return [finding(Span(1, 0, 1, 1), keyword_plan(text, name), code) for name, code in both if name not in text]

    outcome = run(source, check)
    assert outcome.new == b"f(xx=1, yy=1)\n"
    assert [one.code for one in outcome.applied] == ["DBS101", "DBS102"]


def test_a_plan_that_waits_for_a_refused_one_is_tried_in_the_same_round() -> None:
    source = "f()\n"

    def check(data: bytes) -> Sequence[Finding]:
        text = data.decode()
        first = finding(Span(1, 0, 1, 1), keyword_plan(text, "xx"), "DBS101")
        return [first, *([finding(Span(1, 0, 1, 1), keyword_plan(text, "yy"), "DBS102")] if "yy" not in text else [])]

    outcome = run(source, check)
    assert outcome.new == b"f(yy=1)\n"
    assert reasons(outcome) == ["DBS101 would still be found at line 1"]


def test_wrap_first_then_what_is_inside_in_the_next_round() -> None:
    source = "conn = c()\ntry: f()\nexcept E: pass\nconn.close()\n"

    def check(data: bytes) -> Sequence[Finding]:
        text = data.decode()
        if not text.startswith("conn ="):
            return swallowing_handlers(data)
        drop = span(text, "conn.close")
        wrap = WrapInWith(span(text, "conn ="), drop, "closing(c()) as conn", (drop,))
        return (finding(Span(1, 0, 1, 4), plan(wrap), "DBS204"), *swallowing_handlers(data))

    outcome = run(source, check)
    assert outcome.new.decode() == (
        "with closing(c()) as conn:\n    try: f()\n    except E:\n        conn.rollback()\n"
    )
    assert [(one.code, one.span.line) for one in outcome.applied] == [("DBS204", 1), ("DBS101", 3)]


@pytest.mark.parametrize(("line", "old"), [(1, 1), (2, 2), (3, 2), (4, 2), (5, 3), (6, 5), (7, 6)])
def test_lines_of_the_old_file(line: int, old: int) -> None:
    # Line 2 became lines 2 to 4, line 4 went.
    assert loop._old_line(line, (Hunk(1, 2, 1, 4), Hunk(3, 4, 5, 5))) == old


def test_one_change_may_mend_findings_of_two_rules() -> None:
    source = "try: f()\nexcept E: pass\n"

    def check(data: bytes) -> Sequence[Finding]:
        found = swallowing_handlers(data)
        return [*found, *(finding(Span(1, 0, 1, 1), one.fix, "DBS102") for one in found)]

    outcome = run(source, check)
    assert outcome.new == b"try: f()\nexcept E:\n    conn.rollback()\n"
    assert [one.code for one in outcome.applied] == ["DBS101", "DBS102"]


def test_plans_share_an_import() -> None:
    def check(data: bytes) -> Sequence[Finding]:
        text = data.decode()
        return [
            finding(
                Span.of(node),
                plan(
                    InsertFirst(Span.of(node), "with suppress(E):\n    conn.rollback()\n"),
                    EnsureImport("contextlib", "suppress"),
                ),
                scope=str(number),
            )
            for number, node in enumerate(nodes(text, ast.ExceptHandler))
            if isinstance(node, ast.ExceptHandler) and isinstance(node.body[0], ast.Pass)
        ]

    outcome = run(THREE, check)
    assert outcome.new.decode() == "from contextlib import suppress\n\n" + THREE.replace(
        "except E: pass", "except E:\n        with suppress(E):\n            conn.rollback()"
    )
    assert len(outcome.applied) == 3


def test_a_crash_of_a_rule_on_the_new_code_refuses_the_fix() -> None:
    source = "f()\n"

    def check(data: bytes) -> Sequence[Finding]:
        if data != source.encode():
            raise RuleCrash("rule DBS101 failed", "m.py")
        return (finding(Span(1, 0, 1, 3), keyword_plan(source)),)

    assert reasons(run(source, check)) == ["rule DBS101 failed"]


def test_what_check_raises_for_the_file_itself_is_raised() -> None:
    def check(data: bytes) -> Sequence[Finding]:
        raise SourceFault("no Python", "m.py", 1)

    with pytest.raises(SourceFault):
        run("f()\n", check)


def test_fixes_that_do_not_settle_are_rolled_back() -> None:
    source = "f()\n"
    names = [f"k{number:02}" for number in range(loop.MAX_ROUNDS + 1)]

    def check(data: bytes) -> Sequence[Finding]:
        text = data.decode()
        return [finding(Span(1, 0, 1, 1), keyword_plan(text, name), name) for name in names if name not in text]

    outcome = run(source, check)
    assert outcome.new == source.encode()
    assert outcome.applied == ()
    assert set(reasons(outcome)) == {"the fixes of this file did not settle in 10 rounds; nothing in it was changed"}
    assert len(outcome.remaining) == len(names)


def test_as_many_rounds_as_allowed_are_used() -> None:
    source = "f()\n"
    names = [f"k{number:02}" for number in range(loop.MAX_ROUNDS - 1)]

    def check(data: bytes) -> Sequence[Finding]:
        text = data.decode()
        return [finding(Span(1, 0, 1, 1), keyword_plan(text, name), name) for name in names if name not in text]

    outcome = run(source, check)
    assert outcome.new.decode() == f"f({', '.join(f'{name}=1' for name in names)})\n"


def test_a_plan_without_effect_is_refused() -> None:
    source = "f(x=1)\n"
    assert reasons(run(source, once(source, keyword_plan(source)))) == ["the fix changes nothing"]


def test_code_the_encoding_cannot_express_is_refused() -> None:
    data = "# coding: latin-1\nf('é')\n".encode("latin-1")
    wanted = finding(Span(2, 0, 2, 1), plan(ReplaceExpression(Span(2, 2, 2, 6), "'€'")))
    outcome = fix_file(data, "m.py", lambda new: (wanted,) if new == data else (), unsafe=False)
    assert reasons(outcome) == ["the new code cannot be written in the file's encoding (iso-8859-1)"]
    assert outcome.new == data


GARBLED = {
    "a line elsewhere": (
        lambda code: code.replace("a = 1", "a = 2"),
        "line 1 would change, which is not part of the fix",
    ),
    "blanks elsewhere": (
        lambda code: code.replace("b = 2", "b = 2 "),
        "line 5 would change, which is not part of the fix",
    ),
    "syntax": (
        lambda code: code.replace("f(x=1)", "f(x="),
        f"the changed code would not parse: '(' was never closed ({NEWER_PYTHON})",
    ),
    "another value": (
        lambda code: code.replace("x=1", "x=2"),
        "the changed code is not what was planned (top-level statement 2)",
    ),
    "a lost comment": (lambda code: code.replace("  # c", ""), "the comment '# c' would be lost"),
}


@pytest.mark.parametrize(("garble", "reason"), GARBLED.values(), ids=GARBLED)
def test_every_gate_stops_a_wrong_rewrite(
    garble: Callable[[str], str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "a = 1\n\nf()  # c\n\nb = 2\n"
    monkeypatch.setattr("dbsafety.fix.realize.rewritten", lambda *args: garble(rewritten(*args)))
    outcome = run(source, once(source, keyword_plan(source)))
    assert reasons(outcome) == [reason]
    assert outcome.new == source.encode()


def test_handler_type_and_statement_in_one_plan() -> None:
    source = "try: f()\nexcept:\n    log()\n"
    both = plan(SetHandlerType(handler(source), "Exception"), InsertFirst(handler(source), "conn.rollback()"))
    assert run(source, once(source, both)).new == b"try: f()\nexcept Exception:\n    conn.rollback()\n    log()\n"
