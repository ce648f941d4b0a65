"""The flake8 plugin: options, configuration, and who applies which comments."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from dbsafety.adapters import flake8 as adapter
from dbsafety.adapters.host import Engine, overrides
from dbsafety.model.finding import Severity
from dbsafety.rules import registry
from dbsafety.rules.registry import RuleModule
from dbsafety.rules.rule import Rule
from tests.adapters.hosts import codes, flake8, python

NO_TIMEOUT = 'import sqlite3\n\nconn = sqlite3.connect("a.db")\n'


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".py").write_text(text, encoding="utf-8")


def test_a_finding_has_code_place_and_text(tmp_path: Path) -> None:
    write(tmp_path, m=NO_TIMEOUT)
    ((path, (line, column, code, text)),) = flake8(tmp_path, "m.py")
    assert path == "m.py"
    assert (line, column, code) == (3, 8, "DBS201")
    assert text.startswith("`sqlite3.connect(…)` without `timeout`")


def test_an_empty_file_is_clean(tmp_path: Path) -> None:
    write(tmp_path, m="")
    ran = python(tmp_path, "flake8", "m.py")
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_a_syntax_error_is_reported_by_flake8_alone(tmp_path: Path) -> None:
    write(tmp_path, m="import sqlite3\n\nconn = sqlite3.connect(\n")
    ran = python(tmp_path, "flake8", "--select=DBS,E9", "m.py")
    assert [line.split()[1] for line in ran.out.splitlines()] == ["E999"]


def test_flake8_applies_noqa_and_we_apply_our_own_comments(tmp_path: Path) -> None:
    write(
        tmp_path,
        m="import sqlite3\n\n"
        'a = sqlite3.connect("a.db")  # noqa: DBS201\n'
        'b = sqlite3.connect("a.db")  # dbsafety: ignore[DBS201] known\n'
        "c = sqlite3.connect(\n"
        '    "a.db",  # dbsafety: ignore[DBS201] any line of the header\n'
        ")\n"
        "d = 1  # dbsafety: ignore[DBS201] nothing here\n"
        "e = 1  # noqa: DBS201\n",
    )
    assert codes(flake8(tmp_path, "m.py")) == [(8, "DBS002")]


def test_noqa_counts_on_any_line_of_a_header_unless_disabled(tmp_path: Path) -> None:
    write(tmp_path, m='import sqlite3\n\na = sqlite3.connect(\n    "a.db",  # noqa: DBS201\n)\n')
    assert codes(flake8(tmp_path, "m.py")) == []
    assert codes(flake8(tmp_path, "--disable-noqa", "m.py")) == [(3, "DBS201")]


def test_standard_input_is_read(tmp_path: Path) -> None:
    write(tmp_path, m=NO_TIMEOUT)
    adapter.Plugin.engine = Engine()
    lines = NO_TIMEOUT.splitlines(keepends=True)
    for name in ("stdin", "-", str(tmp_path / "m.py"), str(tmp_path / "no" / "such" / "m.py")):
        found = [one[:2] for one in adapter.Plugin(ast.parse(NO_TIMEOUT), lines, name).run()]
        assert found == [(3, 7)]


def test_the_nearest_configuration_is_read(tmp_path: Path) -> None:
    write(tmp_path, m=NO_TIMEOUT, a__m=NO_TIMEOUT)
    (tmp_path / "a" / "pyproject.toml").write_text('[tool.dbsafety]\nignore = ["DBS201"]\n', encoding="utf-8")
    assert codes(flake8(tmp_path, "m.py")) == [(3, "DBS201")]
    assert flake8(tmp_path, "a/m.py") == []
    assert codes(flake8(tmp_path, f"--dbsafety-config={tmp_path / 'a' / 'pyproject.toml'}", "m.py")) == []


def test_options_may_stand_in_flake8s_own_configuration(tmp_path: Path) -> None:
    write(tmp_path, m=NO_TIMEOUT)
    (tmp_path / "other.toml").write_text('ignore = ["DBS201"]\n', encoding="utf-8")
    (tmp_path / "setup.cfg").write_text("[flake8]\ndbsafety-config = other.toml\n", encoding="utf-8")
    assert flake8(tmp_path, "m.py") == []


def test_the_least_confidence_wins_over_the_configuration(tmp_path: Path) -> None:
    write(tmp_path, tests__test_m=NO_TIMEOUT)
    assert flake8(tmp_path, "tests") == []
    assert codes(flake8(tmp_path, "--dbsafety-min-confidence=low", "tests")) == [(3, "DBS201")]
    (tmp_path / "pyproject.toml").write_text('[tool.dbsafety]\nmin-confidence = "low"\n', encoding="utf-8")
    assert codes(flake8(tmp_path, "tests")) == [(3, "DBS201")]
    assert flake8(tmp_path, "--dbsafety-min-confidence=medium", "tests") == []


def test_source_roots_start_at_the_project_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, app__m=NO_TIMEOUT, lib__n="")
    (tmp_path / "pyproject.toml").write_text("[tool.dbsafety]\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path / "app")
    engine = Engine(overrides=overrides(["lib", "app"], None))
    assert engine._session("m.py").roots == ((tmp_path / "lib").as_posix(), ".")
    assert Engine()._session("m.py").roots == (tmp_path.as_posix(), ".")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ("selct = []", "pyproject.toml:2: unknown setting 'selct'; did you mean 'select'?"),
        ('ignore = ["DBS299"]', "pyproject.toml:2: ignore: no rule has the code 'DBS299'"),
        ('source-roots = [\n  "sorce",\n]', "pyproject.toml:3: source-roots: "),
    ],
)
def test_a_wrong_configuration_ends_the_run_with_one_line(settings: str, reason: str, tmp_path: Path) -> None:
    write(tmp_path, m=NO_TIMEOUT)
    (tmp_path / "pyproject.toml").write_text(f"[tool.dbsafety]\n{settings}\n", encoding="utf-8")
    ran = python(tmp_path, "flake8", "m.py")
    assert ran.code == 1
    assert "Traceback" not in ran.out + ran.err
    assert reason in ran.out


@pytest.mark.parametrize("jobs", ["-j1", "-j2"])
def test_a_wrong_configuration_near_a_file_ends_the_run_with_one_line(jobs: str, tmp_path: Path) -> None:
    write(tmp_path, m=NO_TIMEOUT, sub__n=NO_TIMEOUT)
    (tmp_path / "pyproject.toml").write_text("[tool.dbsafety]\n", encoding="utf-8")
    (tmp_path / "sub" / "dbsafety.toml").write_text("selct = []\n", encoding="utf-8")
    ran = python(tmp_path, "flake8", jobs, "m.py", "sub")
    assert ran.code == 1
    assert "Traceback" not in ran.out + ran.err
    assert "dbsafety.toml:1: unknown setting 'selct'" in ran.out


def optional_rule() -> RuleModule:
    rule = Rule("DBS901", "opinion", "an opinion", Severity.INFO, (), "R5790", "0.1", default=False)
    return RuleModule(rule, "", "", "ModuleView", None)


class Manager:
    def __init__(self) -> None:
        self.ignored: list[str] = []
        self.added: list[str] = []

    def add_option(self, name: str, **_: object) -> None:
        self.added.append(name)

    def extend_default_ignore(self, listed: list[str]) -> None:
        self.ignored += listed


def test_rules_that_are_off_by_default_are_hidden_by_flake8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "all_rules", lambda: (*registry.all_rules(), optional_rule()))
    manager = Manager()
    adapter.Plugin.add_options(manager)
    assert "DBS901" in manager.ignored
    assert not {"DBS101", "DBS201"} & set(manager.ignored)
    assert manager.added == ["--dbsafety-config", "--dbsafety-source-roots", "--dbsafety-min-confidence"]


def test_a_crashed_rule_is_said_on_the_first_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object, **__: object) -> object:
        raise ValueError("oops")

    monkeypatch.setattr("dbsafety.check.module.run_rules", crash)
    adapter.Plugin.engine = Engine()
    ((line, column, text, kind),) = adapter.Plugin(ast.parse(NO_TIMEOUT), [NO_TIMEOUT], "m.py").run()
    assert (line, column, kind) == (1, 0, adapter.Plugin)
    assert text.startswith("DBS004 internal error in ")
    assert text.endswith("ValueError: oops")


def test_several_processes_show_the_same(tmp_path: Path) -> None:
    for number in range(4):
        write(tmp_path, **{f"m{number}": NO_TIMEOUT})
    ran = python(tmp_path, "flake8", "-j2", "--select=DBS", ".")
    assert [line.split(":")[0].removeprefix("./") for line in ran.out.splitlines()] == [f"m{n}.py" for n in range(4)]
