"""Where something stands in a file, in the units of the standard library's `ast`."""

from __future__ import annotations

import ast
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A half-open range of source text.

    `line` and `end_line` are 1-based; `col` and `end_col` are 0-based offsets in UTF-8 bytes, as `ast` gives
    them. Conversion to characters, UTF-16 units or file offsets is the business of `source.text` alone.
    """

    line: int
    col: int
    end_line: int
    end_col: int

    @classmethod
    def of(cls, node: ast.expr | ast.stmt | ast.ExceptHandler | ast.arg | ast.keyword | ast.alias) -> Span:
        """The span of a located tree node."""
        end_line = node.end_lineno if node.end_lineno is not None else node.lineno
        end_col = node.end_col_offset if node.end_col_offset is not None else node.col_offset
        return cls(node.lineno, node.col_offset, end_line, end_col)

    @classmethod
    def line_start(cls, line: int) -> Span:
        """An empty span at the start of a line (1-based)."""
        return cls(line, 0, line, 0)

    def contains(self, other: Span) -> bool:
        """Whether `other` lies within this span."""
        return (self.line, self.col) <= (other.line, other.col) and (other.end_line, other.end_col) <= (
            self.end_line,
            self.end_col,
        )
