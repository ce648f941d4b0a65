"""Promises that hold for any file, over generated modules and real ones: the toy rule is mended, nothing else moves."""

from __future__ import annotations

import ast
import codecs
import io
import tokenize
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from dbsafety.fix.loop import fix_file
from dbsafety.model.faults import SourceFault
from dbsafety.source.module import parse_tree
from dbsafety.source.text import SourceText
from tests.fix.planning import swallowing_handlers

SIMPLE = st.sampled_from(
    [
        "x = 1",
        "pass",
        "f(); g()",
        "log('é😀')  # é",
        "y = (\n1,  # one\n)",
        'z = """\n a\n\t"""',
        "# alone",
        "",
        "a = 1 + \\\n 2",
        "raise",
        "f(x);",
        "s = f'{x!r}' 'y'",
    ]
)
HEADERS = st.sampled_from(["except:", "except E as e:  # noqa", "except (A,\n  B):", "except E :"])
OUTER = st.sampled_from(
    ["if x:", "for x in y:  # loop", "with a as b, c:", "async def f():", "@deco\ndef f():", "class C:"]
)
ONE_LINE = st.sampled_from(["pass", "pass  # why", "log(); x = 1", "x = '😀'; g();"])


@st.composite
def suite(draw: st.DrawFn, indent: str, level: int) -> list[str]:
    """Lines of a suite that has at least one statement."""
    lines: list[str] = []
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.integers(0, 3 if level else 1))
        if kind <= 1:
            lines += draw(SIMPLE).split("\n")
        elif kind == 2:
            lines += draw(OUTER).split("\n") + indented(draw(suite(indent, level - 1)), indent)
        else:
            lines += draw(attempt(indent, level - 1))
    return [*lines, "end()"]


@st.composite
def attempt(draw: st.DrawFn, indent: str, level: int) -> list[str]:
    """Lines of a try statement."""
    lines = ["try:", *indented(draw(suite(indent, level)), indent)]
    header = draw(HEADERS)
    if draw(st.booleans()):
        return [*lines, *f"{header.partition('  #')[0]} {draw(ONE_LINE)}".split("\n")]
    lines += [*header.split("\n"), *indented(draw(suite(indent, level)), indent)]
    if draw(st.booleans()):
        lines += ["finally: h()"]
    return lines


def indented(lines: list[str], indent: str) -> list[str]:
    # What is inside the multi-line string moves with it here, which makes another string, not another layout.
    return [indent + line if line else line for line in lines]


@st.composite
def module(draw: st.DrawFn) -> bytes:
    """The bytes of a module that has at least one handler."""
    indent = draw(st.sampled_from(["    ", "  ", "\t"]))
    lines = [*draw(suite(indent, 2)), *draw(attempt(indent, 1))]
    newline = draw(st.sampled_from(["\n", "\n", "\r\n", "\r"]))
    text = newline.join(lines) + draw(st.sampled_from([newline, newline, ""]))
    return draw(st.sampled_from([b"", codecs.BOM_UTF8])) + text.encode()


def comments(text: str) -> Counter[str]:
    lines = "\n".join(SourceText.of(text).lines()) + "\n"
    return Counter(
        token.string
        for token in tokenize.generate_tokens(io.StringIO(lines, newline="\n").readline)
        if token.type == tokenize.COMMENT
    )


def without_rollbacks(tree: ast.Module) -> str:
    """The tree without what the toy's plan inserts and without `pass`."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            body[:] = [one for one in body if ast.unparse(one) not in ("conn.rollback()", "pass")]
    return ast.dump(tree)


def check_promises(data: bytes) -> int:
    """Fix, compare, and return how many findings went."""
    before = SourceText.decode(data)
    outcome = fix_file(data, "m.py", swallowing_handlers, unsafe=False)
    after = SourceText.decode(outcome.new)
    assert len(outcome.applied) + len(outcome.remaining) == len(swallowing_handlers(data))
    assert len(outcome.refused) == len(outcome.remaining)
    assert (after.bom, after.encoding, after.newline) == (before.bom, before.encoding, before.newline)
    assert comments(after.text) == comments(before.text)
    assert without_rollbacks(parse_tree(after, "")) == without_rollbacks(parse_tree(before, ""))
    assert fix_file(outcome.new, "m.py", swallowing_handlers, unsafe=False).new == outcome.new
    lost = Counter(before.lines()) - Counter(after.lines())
    assert all(line.strip().startswith(("except", "B):", "pass")) for line in lost)
    return len(outcome.applied)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(module())
def test_generated_modules(data: bytes) -> None:
    assume(parses(data))
    check_promises(data)


def parses(data: bytes) -> bool:
    try:
        parse_tree(SourceText.decode(data), "")
    except SourceFault:
        return False
    return True


@pytest.mark.parametrize("name", ["contextlib", "shelve", "tarfile"])
def test_real_modules(name: str) -> None:
    spec = find_spec(name)
    assert spec is not None
    assert check_promises(Path(spec.origin or "").read_bytes()) > 0
