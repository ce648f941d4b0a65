"""What is said about a module of a project full of cycles does not depend on the modules checked before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from textwrap import dedent

import pytest

from dbsafety.check.module import check_module
from dbsafety.check.options import rule_options
from dbsafety.check.session import Session
from dbsafety.config.load import load
from dbsafety.model.finding import Confidence
from dbsafety.rules.run import view_of
from dbsafety.typestate import describe
from dbsafety.typestate.reasons import receivers
from dbsafety.typestate.relation import Subject
from tests.check.cycles import Project

SEEDS = (3, 8, 12, 19, 27, 31, 44, 52)

_DEEP = 30
_CHAIN = "".join(f"def f{n}():\n    conn = f{n + 1}()\n    return conn\n" for n in range(_DEEP, 2 * _DEEP))

WRITTEN: Mapping[str, Mapping[str, str]] = {
    "guesses by name that feed each other": {
        "m0.py": """
            import psycopg2
            def one(conn):
                two(conn)
                return conn
            def two(cur):
                one(cur)
                return cur
            """,
        "m1.py": "import psycopg2, m0\nfound = m0.one(1)\nfound.execute('')\n",
        "m2.py": "import psycopg2, m0\nfound = m0.two(1)\nfound.execute('')\n",
    },
    "declared connections in two modes": {
        "m0.py": """
            import psycopg
            def one(conn: psycopg.Connection):
                two(conn)
                return conn
            def two(conn: psycopg.Connection):
                one(conn)
                return conn
            def start():
                one(psycopg.connect("", autocommit=True))
            """,
        "m1.py": "import psycopg, m0\nfound = m0.one(psycopg.connect(''))\nfound.execute('')\n",
        "m2.py": "import psycopg, m0\nfound = m0.two(psycopg.connect(''))\nfound.execute('')\n",
    },
    "a chain of functions deeper than the resolver looks": {
        "m0.py": "import m1\n"
        + "".join(f"def f{n}():\n    conn = f{n + 1}()\n    return conn\n" for n in range(_DEEP - 1))
        + f"def f{_DEEP - 1}():\n    return m1.f{_DEEP}()\n"
        + "def use():\n    conn = f0()\n    try:\n        conn.cursor().execute('DELETE FROM t')\n"
        + "    except Exception:\n        pass\n    conn.cursor().execute('SELECT 1')\n",
        "m1.py": f"import psycopg2\n{_CHAIN}def f{2 * _DEEP}():\n    return psycopg2.connect('')\n",
    },
}


def said(session: Session, path: str, *, in_detail: bool) -> str:
    """Findings, notes and faults about the file; in detail also the summaries and receivers of its functions."""
    data = Path(path).read_bytes()
    result = check_module(data, path, session, named=True)
    words = [repr((result.findings, result.notes, result.faults))]
    view = view_of(session.trees.parse(data, path), session.frames, rule_options(session.settings))
    for function in view.functions if in_detail else ():
        for key, handle in sorted(view.summaries.touched(function.info).items()):
            subject = Subject(key, handle)
            words += [describe.subject_words(subject, path), describe.summary(view.summaries, function.info, subject)]
        words += [repr(row) for row in receivers(function.frame)]
    return "\n".join(words)


def every_order_says_the_same(files: Mapping[str, str], orders: int, *, in_detail: bool) -> str:
    """What each file alone is said about, if that is what is said in other orders."""
    for name, text in files.items():
        Path(name).write_text(dedent(text))
    session = Session.of(load(Path.cwd(), isolated=True), list(files))
    session = replace(session, codes=session.known, settings=replace(session.settings, min_confidence=Confidence.LOW))
    alone = {name: said(session.renewed(), name, in_detail=in_detail) for name in files}
    for order in list(permutations(files))[-orders:]:
        together = session.renewed()
        assert {name: said(together, name, in_detail=in_detail) for name in order} == alone, order
    return "\n".join(alone.values())


@pytest.mark.parametrize("seed", SEEDS)
def test_any_order_of_generated_modules(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    every_order_says_the_same(Project(seed).files, 2, in_detail=True)


@pytest.mark.parametrize("name", WRITTEN)
def test_any_order_of_written_modules(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    every_order_says_the_same(WRITTEN[name], 6, in_detail=len(WRITTEN[name]) == 3)


def test_a_chain_of_any_depth_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = every_order_says_the_same(
        WRITTEN["a chain of functions deeper than the resolver looks"], 1, in_detail=False
    )
    assert "DBS101" in found
    assert "DBS004" not in found


def test_a_circle_deeper_than_the_resolver_looks_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    half = "".join(f"def f{n}():\n    conn = f{n + 1}()\n    return conn\n" for n in range(_DEEP - 1))
    use = (
        "def use():\n    conn = f0()\n    try:\n        conn.cursor().execute('DELETE FROM t')\n"
        "    except Exception:\n        pass\n    conn.cursor().execute('SELECT 1')\n"
    )
    last = f"def f{_DEEP - 1}():\n    return {{}}.f0() or psycopg2.connect('')\n"
    circle = {
        "m0.py": f"import psycopg2, m1\n{half}{last.format('m1')}{use}",
        "m1.py": f"import psycopg2, m0\n{half}{last.format('m0')}{use}",
    }
    found = every_order_says_the_same(circle, 2, in_detail=False)
    assert found.count("a budget of the analysis was used up") == 2
