"""The same bytes give the same findings through the engine, the command line, flake8 and pylint."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from pathlib import Path

import pytest

from dbsafety.api import check_source
from dbsafety.source.text import SourceText
from tests.adapters.hosts import Place, command_line, flake8, pylint

SOURCE = '''\
"""Ein Modul für Käufe."""
import logging
import sqlite3

import psycopg2

log = logging.getLogger(__name__)


class Store:
    def __init__(self, dsn: str) -> None:
        self.conn = psycopg2.connect(dsn)

    def add(self, row: str) -> None:
        ö = "é"; cur = self.conn.cursor()
        try:
            cur.execute("INSERT INTO t VALUES (%s)", (row,))
        except psycopg2.Error:
            log.error("é", ö)


def count(path: str) -> int:
    é = "é"; conn = sqlite3.connect(path)
    number = conn.execute("SELECT count(*) FROM t").fetchone()[0]
    conn.close()
    return number, é


quiet = sqlite3.connect("a.db")  # dbsafety: ignore[DBS201] known
loud = sqlite3.connect(
    "a.db",
)  # dbsafety: ignore[DBS101]
'''
LAYOUTS = {
    "UTF-8": SOURCE.encode(),
    "byte order mark": codecs.BOM_UTF8 + SOURCE.encode(),
    "CRLF": SOURCE.replace("\n", "\r\n").encode(),
    "CR": SOURCE.replace("\n", "\r").encode(),
    "latin-1": f"# -*- coding: latin-1 -*-\n{SOURCE}".encode("latin-1"),
    "form feed": SOURCE.replace("\n\n\nclass", "\n\x0c\nclass").encode(),
}
CODES = {"DBS101", "DBS002", "DBS201", "DBS204"}


def engine(data: bytes) -> list[Place]:
    text = SourceText.decode(data)
    return sorted(
        (one.span.line, text.character_column(one.span.line, one.span.col) + 1, one.code, one.said.line)
        for one in check_source(data, "m.py")
    )


@pytest.mark.parametrize("face", [command_line, flake8, pylint])
def test_every_face_shows_the_same(face: Callable[..., list[tuple[str, Place]]], tmp_path: Path) -> None:
    # Under newer Pythons pylint cannot parse files whose lines end with CR alone; the engine can.
    layouts = [data for name, data in LAYOUTS.items() if not (face is pylint and name == "CR")]
    expected = {}
    for number, data in enumerate(layouts):
        (tmp_path / f"m{number}.py").write_bytes(data)
        expected[f"m{number}.py"] = engine(data)
    found: dict[str, list[Place]] = {name: [] for name in expected}
    for name, place in face(tmp_path, *expected):
        found[name].append(place)
    assert {name: sorted(places) for name, places in found.items()} == expected


@pytest.mark.parametrize("data", LAYOUTS.values(), ids=LAYOUTS)
def test_the_engine_finds_the_same_in_every_layout(data: bytes) -> None:
    assert {code for _, _, code, _ in engine(data)} == CODES
