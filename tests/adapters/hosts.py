"""Runs the hosts and our own command line on files of a folder, each in a process of its own."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dbsafety.model.message import Message
from tests.harness.installs import Ran, run

PLUGIN = ("--load-plugins=dbsafety.adapters.pylint", "--persistent=n")
_CODE = re.compile(r" \((DBS\d{3})\)$")

Place = tuple[int, int, str, str]
"""Line, column (1-based, in characters), code, message."""


def python(folder: Path, *arguments: str) -> Ran:
    """`python -m ...` in the folder."""
    return run([sys.executable, "-m", *arguments], folder)


def command_line(folder: Path, *arguments: str) -> list[tuple[str, Place]]:
    """What `dbsafety check` finds, with the path of each finding and its message as hosts show it: on one line."""
    ran = python(folder, "dbsafety", "check", "--output-format=jsonl", *arguments)
    rows = map(json.loads, ran.out.splitlines())
    return [(row["path"], (row["line"], row["column"], row["code"], line_of(row))) for row in rows]


def line_of(row: Mapping[str, str]) -> str:
    """The line that hosts show of a finding, from the parts that JSON has."""
    return Message(row["headline"], row["consequence"], row["remedy"] or "").line


def flake8(folder: Path, *arguments: str) -> list[tuple[str, Place]]:
    """What flake8 shows of our codes."""
    form = "--format=%(path)s\t%(row)d\t%(col)d\t%(code)s\t%(text)s"
    ran = python(folder, "flake8", "--select=DBS", "-j1", form, *arguments)
    rows = (line.split("\t", 4) for line in ran.out.splitlines())
    return [(path.removeprefix("./"), (int(row), int(column), code, text)) for path, row, column, code, text in rows]


def pylint(folder: Path, *arguments: str) -> list[tuple[str, Place]]:
    """What pylint shows of our messages, columns counted from 1."""
    found = []
    for row in pylint_rows(folder, "--disable=all", "--enable=dbsafety", *arguments):
        match = _CODE.search(row.message)
        assert match is not None, row
        found.append((row.path, (row.line, row.column + 1, match[1], _CODE.sub("", row.message))))
    return found


@dataclass(frozen=True, slots=True)
class Row:
    """A message of pylint: its column counts from 0, `obj` is the function or class it is in."""

    path: str
    line: int
    column: int
    symbol: str
    message: str
    obj: str
    confidence: str


def pylint_rows(folder: Path, *arguments: str) -> list[Row]:
    """The messages of pylint as its own JSON has them."""
    ran = python(folder, "pylint", *PLUGIN, "--output-format=json2", *arguments)
    return [Row(**{key: row[key] for key in Row.__slots__}) for row in json.loads(ran.out)["messages"]]


def codes(found: Iterable[tuple[str, Place]]) -> list[tuple[int, str]]:
    """Line and code alone, in order."""
    return sorted((line, code) for _, (line, _, code, _) in found)
