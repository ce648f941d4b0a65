"""On which line a setting stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbsafety.config.lines import line_of

SHARED = """\
[project]
select = 1

[tool.dbsafety]
select = ["DBS1", "DBS201"]
"ignore" = [
    # "DBS102" is right
    "DBS10",
    "DBS102",
]
severity.DBS101 = "info"

[tool.dbsafety.per-file-ignores]
"tests/*" = ["DBS2"]

[[tool.dbsafety.wrappers]]
factory = "a.b"

[[tool.dbsafety.wrappers]]  # the second
factory = "c.d"

[tool.other]
"DBS999" = 1
"""


@pytest.mark.parametrize(
    ("key", "inner", "number", "line"),
    [
        ("select", "", 0, 5),
        ("select", "DBS201", 0, 5),
        ("ignore", "", 0, 6),
        ("ignore", "DBS102", 0, 9),
        ("ignore", "DBS999", 0, 6),
        ("severity", "DBS101", 0, 11),
        ("per-file-ignores", "", 0, 13),
        ("per-file-ignores", "DBS2", 0, 14),
        ("per-file-ignores", "tests/*", 0, 14),
        ("wrappers", "", 0, 16),
        ("wrappers", "", 1, 19),
        ("wrappers", "c.d", 1, 20),
        ("wrappers", "DBS999", 1, 19),
        ("exclude", "", 0, 0),
    ],
)
def test_the_line_of_a_setting(key: str, inner: str, number: int, line: int, tmp_path: Path) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text(SHARED, encoding="utf-8")

    assert line_of(file, key, inner, number) == line


def test_in_a_file_of_its_own_there_is_no_prefix(tmp_path: Path) -> None:
    file = tmp_path / "dbsafety.toml"
    file.write_text('[severity]\nDBS101 = "info"\n', encoding="utf-8")

    assert (line_of(file, "severity"), line_of(file, "severity", "DBS101")) == (1, 2)
