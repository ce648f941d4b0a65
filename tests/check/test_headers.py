"""The lines on which a comment speaks for a statement."""

from __future__ import annotations

import pytest

from dbsafety.check.headers import Headers
from dbsafety.source.module import SourceModule

SOURCE = """\
@decorator(
    1,
)
def f(
    a,
):
    # about the body

    x = call(
        1,
    )
    if (
        a
        and b
    ): y = 1
    with open(
        a
    ) as b, \\
         c as d:
        pass
    try:
        pass
    except (
        A,
        B,
    ):
        pass
    else:
        z = 1; w = 2
    finally:
        pass
    match x:
        case [
            1
        ] if y:
            '''
            text'''
class C(
    B
): pass
"""


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        (1, (1, 6)),
        (4, (1, 6)),
        (6, (1, 6)),
        (7, (7, 7)),
        (9, (9, 11)),
        (11, (9, 11)),
        (12, (12, 14)),
        (15, (15, 15)),
        (16, (16, 19)),
        (20, (20, 20)),
        (21, (21, 21)),
        (23, (23, 26)),
        (28, (28, 28)),
        (29, (29, 29)),
        (32, (32, 32)),
        (33, (33, 35)),
        (36, (36, 37)),
        (38, (38, 39)),
        (40, (40, 40)),
    ],
)
def test_header(line: int, lines: tuple[int, int]) -> None:
    header = Headers(SourceModule.parse(SOURCE.encode(), "f.py")).of(line)

    assert (header.start, header.stop - 1) == lines


def test_deep_nesting_needs_no_stack() -> None:
    source = "if x:\n pass\n" + "elif x:\n pass\n" * 900

    assert Headers(SourceModule.parse(source.encode(), "f.py")).of(1801) == range(1801, 1802)
