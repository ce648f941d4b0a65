"""A module as the engine gets it: text, tree, and the comments that silence findings."""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass

from dbsafety.model.faults import SourceFault
from dbsafety.source.pragmas import PragmaTable
from dbsafety.source.text import SourceText

NEWER_PYTHON = "run dbsafety with a Python at least as new as the code"
_NEVER_VALID = (
    "call to 'print'",
    "call to 'exec'",
    "leading zeros in decimal integer literals",
    "too many nested",
    "too many statically nested",
    "too many levels",
    "inconsistent use of tabs",
)
"""Parts of messages about code that no newer Python takes."""
_TOO_DEEP = "the code is nested too deeply for Python's parser"


@dataclass(frozen=True, slots=True)
class SourceModule:
    """One parsed file. `path` is the name used in findings, as the user wrote it or relative to the project."""

    path: str
    text: SourceText
    tree: ast.Module
    pragmas: PragmaTable

    @classmethod
    def parse(cls, data: bytes, path: str, tree: ast.Module | None = None) -> SourceModule:
        """Decode and parse the bytes of a file; `tree` is their tree if it is known.

        Raises SourceFault, with the line, for all that Python's parser refuses: undecodable bytes, NUL, syntax
        errors, nesting beyond the parser's limits.
        """
        text = SourceText.decode(data, path)
        return cls(path, text, tree or parse_tree(text, path), PragmaTable.of(text))


def parse_tree(text: SourceText, path: str) -> ast.Module:
    """The syntax tree of decoded text. Raises SourceFault as `SourceModule.parse` does."""
    if "\0" in text.text:
        line, _ = text.position(text.text.index("\0"))
        raise SourceFault("the file contains a NUL byte", path, line)
    try:
        with warnings.catch_warnings():
            # Invalid escapes and the like are the business of the interpreter that runs the code.
            warnings.simplefilter("ignore")
            return ast.parse(text.text, filename=path or "<unknown>")
    except SyntaxError as error:
        line = min(max(error.lineno or 1, 1), text.line_count)
        helps = not any(words in error.msg for words in _NEVER_VALID)
        raise SourceFault(f"{error.msg} ({NEWER_PYTHON})" if helps else error.msg, path, line) from error
    except (RecursionError, MemoryError) as error:
        raise SourceFault(_TOO_DEEP, path, 1) from error
    except ValueError as error:
        raise SourceFault(f"Python's parser refuses the text: {error}", path, 1) from error
