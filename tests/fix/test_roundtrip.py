"""A slice of `make roundtrip`: all fixes on a copy of code that the project carries, and the counting itself."""

from __future__ import annotations

from pathlib import Path

from tests.fix.roundtrip import Label, Tally, broken, copied, round_trip

ROOT = Path(__file__).parents[2]
SOURCE = """\
import sqlite3

conn = sqlite3.connect("a.db")
again = sqlite3.connect("a.db", **options)
"""


def test_every_promise_holds_on_the_examples_of_the_rules(tmp_path: Path) -> None:
    sources = [path for path in (ROOT / "tests" / "fixtures" / "rules").glob("*/fix_*.py") if ".fixed" not in path.name]
    for path in sources:
        (tmp_path / f"{path.parent.name}_{path.name}").write_bytes(path.read_bytes())
    tally = round_trip(tmp_path)
    assert tally.broken == []
    assert tally.files == len(sources)
    assert {code for code, count in tally.applied.items() if count} >= {
        "DBS101", "DBS102", "DBS103", "DBS104", "DBS106", "DBS107", "DBS108", "DBS111", "DBS112",
        "DBS201", "DBS202", "DBS203", "DBS204", "DBS205", "DBS206", "DBS301",
    }  # fmt: skip


def test_every_promise_holds_on_the_code_of_the_incident(tmp_path: Path) -> None:
    copy = tmp_path / "incidents"
    assert copied(ROOT / "tests" / "fixtures" / "incidents", copy) > 0
    tally = round_trip(copy)
    assert tally.broken == []
    assert tally.applied.total() > 0


def test_what_became_of_the_findings_at_labels(tmp_path: Path) -> None:
    copy = tmp_path / "tree"
    copy.mkdir()
    (copy / "a.py").write_text(SOURCE, encoding="utf-8")
    both = Label("tree", "a.py", 3, 4, frozenset({"DBS201"}))
    other = Label("tree", "a.py", 3, 4, frozenset({"DBS101"}))
    tally = round_trip(copy, labels=[both, other])
    assert tally.files == tally.changed == 1
    assert tally.labelled == {("DBS201", "fixed"): 1}
    assert (tally.applied["DBS201"], tally.broken) == (1, [])
    assert "  1 x DBS201: fixed" in tally.lines()


def test_broken_promises_are_seen() -> None:
    old = b"import sqlite3\n\nx = 1\ny = 2\nz = 3  # why\n"
    assert list(broken(old, old, [])) == []
    assert list(broken(old, b"x = (\n", [])) == ["does not parse: '(' was never closed (<unknown>, line 1)"]
    assert list(broken(old, old.replace(b"  # why", b""), [])) == [
        "comments lost: ['# why']",
        "bytes changed outside the edits: lines [5]",
    ]
    assert list(broken(old, old[:-1], [])) == ["bytes changed outside the edits: lines [5]", "line ends changed"]


def test_tallies_add_up() -> None:
    one, sum_ = Tally(files=1, broken=["a"]), Tally(files=2)
    sum_.add(one)
    assert (sum_.files, sum_.broken) == (3, ["a"])
