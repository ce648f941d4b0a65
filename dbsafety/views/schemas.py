"""What a module says about its tables: the constraints in the CREATE TABLE texts it holds."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dbsafety.views.view import ModuleView

_CREATE = re.compile(
    r"\bCREATE\s+(?:TEMP(?:ORARY)?\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?([\w.\"`\[\]]+)\s*(?=\()", re.IGNORECASE
)
_CHECKING = re.compile(r"\bNOT\s+NULL\b|\bCHECK\s*\(", re.IGNORECASE)
_NOISE = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Table:
    """A table as its CREATE statement tells: the 1-based line it stands on, and whether a row can break more than a
    uniqueness: NOT NULL, CHECK.
    """

    line: int
    checks: bool


def tables_of(view: ModuleView) -> Mapping[str, Table]:
    """The tables that texts of the module create, by name in lower case without quotes."""
    found: dict[str, Table] = {}
    for node in ast.walk(view.index.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "table" in node.value.lower():
            for name, table in _tables(node.value, node.lineno):
                found.setdefault(name, table)
    return found


def _tables(text: str, line: int) -> Iterator[tuple[str, Table]]:
    bare = _NOISE.sub(lambda match: " " * len(match.group(0)) if "\n" not in match.group(0) else "\n", text)
    for create in _CREATE.finditer(bare):
        body = _parenthesized(bare, create.end())
        name = create.group(1).strip('"`[]').lower()
        yield name, Table(line + bare.count("\n", 0, create.start()), _CHECKING.search(body) is not None)


def _parenthesized(text: str, start: int) -> str:
    """The text from the bracket at `start` up to the one that closes it."""
    depth = 0
    for at in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        if depth == 0:
            return text[start:at]
    return text[start:]
