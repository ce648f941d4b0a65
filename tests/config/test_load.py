"""Finding and reading the configuration, and what is said when it is wrong."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from dbsafety.config.load import load, overlaid, settings_from
from dbsafety.config.settings import SETTINGS, Settings
from dbsafety.model.faults import ConfigFault
from dbsafety.model.finding import Confidence, Severity
from dbsafety.model.rewrite import Applicability

EVERYTHING = """
[project]
name = "x"

[tool.dbsafety]
select = ["DBS1"]
extend-select = ["DBS201"]
ignore = ["DBS102"]
min-confidence = "low"
exclude = ["a"]
extend-exclude = ["b"]
force-exclude = true
source-roots = ["lib"]
test-paths = ["spec/"]
sqlite-timeout = 5
target-python = "3.11"
slow-calls = ["app.mail.*"]
output-format = "concise"

[tool.dbsafety.per-file-ignores]
"migrations/*" = ["DBS1"]

[tool.dbsafety.severity]
DBS101 = "info"

[tool.dbsafety.fix-applicability]
DBS201 = "unsafe"

[[tool.dbsafety.wrappers]]
factory = "app.db.connect"
driver = "psycopg2"
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / ".git").mkdir()
    return tmp_path


def test_every_setting_is_read(repository: Path) -> None:
    file = repository / "pyproject.toml"
    file.write_text(EVERYTHING, encoding="utf-8")

    found = load(repository)

    assert (found.root, found.file) == (repository, file)
    assert found.settings == Settings(
        select=("DBS1",),
        extend_select=("DBS201",),
        ignore=("DBS102",),
        min_confidence=Confidence.LOW,
        per_file_ignores={"migrations/*": ("DBS1",)},
        severity={"DBS101": Severity.INFO},
        exclude=("a",),
        extend_exclude=("b",),
        force_exclude=True,
        source_roots=("lib",),
        test_paths=("spec/",),
        sqlite_timeout=5.0,
        target_python=(3, 11),
        slow_calls=("app.mail.*",),
        fix_applicability={"DBS201": Applicability.UNSAFE},
        wrappers=({"factory": "app.db.connect", "driver": "psycopg2"},),
        output_format="concise",
    )


def test_the_example_names_every_setting() -> None:
    assert {key for key in SETTINGS if key not in EVERYTHING} == set()
    assert [setting.attribute for setting in SETTINGS.values()] == [
        field.name for field in dataclasses.fields(Settings)
    ]
    assert all(setting.help for setting in SETTINGS.values())


def test_the_nearest_file_wins_and_own_file_before_pyproject(repository: Path) -> None:
    inner = repository / "a" / "b"
    inner.mkdir(parents=True)
    (repository / "pyproject.toml").write_text('[tool.dbsafety]\nselect = ["DBS1"]\n', encoding="utf-8")
    (repository / "a" / "pyproject.toml").write_text('[tool.dbsafety]\nselect = ["DBS2"]\n', encoding="utf-8")
    (repository / "a" / "dbsafety.toml").write_text('select = ["DBS3"]\n', encoding="utf-8")
    (inner / "pyproject.toml").write_text("[tool.other]\n", encoding="utf-8")

    found = load(inner)

    assert (found.root, found.settings.select) == (repository / "a", ("DBS3",))
    assert load(repository).settings.select == ("DBS1",)


def test_the_search_ends_at_the_repository(tmp_path: Path) -> None:
    (tmp_path / "dbsafety.toml").write_text('select = ["DBS1"]\n', encoding="utf-8")
    repository = tmp_path / "repository"
    (repository / ".git").mkdir(parents=True)
    (repository / "src").mkdir()

    found = load(repository / "src")

    assert (found.root, found.file, found.settings) == (repository, None, Settings())


def test_isolated_reads_nothing(repository: Path) -> None:
    (repository / "dbsafety.toml").write_text("nonsense", encoding="utf-8")

    assert load(repository, isolated=True).settings == Settings()


def test_a_file_that_is_named(repository: Path) -> None:
    other = repository / "ci" / "strict.toml"
    other.parent.mkdir()
    other.write_text('min-confidence = "low"\n', encoding="utf-8")

    found = load(repository, other)

    assert (found.root, found.settings.min_confidence) == (other.parent, Confidence.LOW)


def test_a_named_pyproject_without_table_means_the_defaults(repository: Path) -> None:
    file = repository / "pyproject.toml"
    file.write_text("[project]\n", encoding="utf-8")

    assert load(repository, file).settings == Settings()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('selct = ["DBS1"]', "unknown setting 'selct'; did you mean 'select'?"),
        ("zzzzzz = 1", "unknown setting 'zzzzzz'"),
        ('select = "DBS1"', "select: must be a list of strings (list of codes or their beginnings)"),
        ("select = [1]", "select: must be a list of strings (list of codes or their beginnings)"),
        ('force-exclude = "yes"', "force-exclude: must be true or false"),
        ("sqlite-timeout = 0", "sqlite-timeout: must be a number of seconds above 0"),
        ("sqlite-timeout = true", "sqlite-timeout: must be a number of seconds above 0"),
        ("sqlite-timeout = nan", "sqlite-timeout: must be a number of seconds above 0"),
        (
            'min-confidence = "hihg"',
            "min-confidence: must be one of low, medium, high, not 'hihg'; did you mean 'high'?",
        ),
        ("target-python = 3.11", 'target-python: must be a version of Python 3 in quotes, as in "3.11"'),
        ('target-python = ">=3"', 'target-python: must be a version of Python 3 in quotes, as in "3.11"'),
        ('slow-calls = ["app mail"]', "slow-calls: must be a list of dotted names, not 'app mail'"),
        ("per-file-ignores = []", "per-file-ignores: must be a table: pattern = list of codes"),
        ('severity = {DBS101 = "bad"}', "severity: DBS101: must be one of error, warning, info, not 'bad'"),
        ("severity = 1", "severity: must be a table: code = word"),
        ("wrappers = 1", "wrappers: must be a list of tables ([[tool.dbsafety.wrappers]])"),
    ],
)
def test_what_is_said_about_a_wrong_setting(repository: Path, line: str, said: str) -> None:
    file = repository / "pyproject.toml"
    file.write_text(f"[tool.other]\nselect = 1\n\n[tool.dbsafety]\n# here\n{line}\n", encoding="utf-8")

    with pytest.raises(ConfigFault) as caught:
        load(repository)

    assert str(caught.value) == f"{file}:6: {said}"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[tool.dbsafety.selct]\nx = 1\n", 1),
        ("[tool]\n[tool.dbsafety]\n\n[[tool.dbsafety.wrapers]]\n", 4),
        ('[tool.dbsafety]\n"selct" = []\n', 2),
        ("[tool.dbsafety]\nselct.x = 1\n", 2),
        ("[tool]\ndbsafety = {selct = 1}\n", 0),
        ('[tool.dbsafety.severity]\nDBS10 = "info"\n# DBS101\nDBS101 = "bad"\n', 4),
        ('[tool.dbsafety.severity]  # of rules\nDBS102 = "info"\n"DBS101" = "bad"\n', 3),
        ('[tool.dbsafety]\nseverity.DBS102 = "info"\nseverity.DBS101 = "bad"\n', 3),
        ('[tool.dbsafety]\nseverity = {DBS101 = "bad"}\n', 2),
        ('[tool.dbsafety.per-file-ignores]\n"a/*" = []\n"a/*.py" = ["DBS1", 7]\n[tool.other]\n"a/*.py" = 1\n', 3),
        ('[tool.dbsafety]\nslow-calls = [\n  "app.mail",\n  "app mail",\n]\nselect = ["app mail"]\n', 4),
    ],
)
def test_the_line_of_a_wrong_setting_in_other_shapes(repository: Path, text: str, line: int) -> None:
    (repository / "pyproject.toml").write_text(text, encoding="utf-8")

    with pytest.raises(ConfigFault) as caught:
        load(repository)

    assert caught.value.line == line


def test_invalid_toml_names_file_and_line(repository: Path) -> None:
    file = repository / "dbsafety.toml"
    file.write_text("select = []\nignore = DBS1\n", encoding="utf-8")

    with pytest.raises(ConfigFault) as caught:
        load(repository)

    assert str(caught.value) == f"{file}:2: not valid TOML: Invalid value"


def test_toml_that_ends_too_soon_names_the_file(repository: Path) -> None:
    file = repository / "dbsafety.toml"
    file.write_text("select = [\n", encoding="utf-8")

    with pytest.raises(ConfigFault) as caught:
        load(repository)

    assert str(caught.value).startswith(f"{file}: not valid TOML: ")


def test_a_file_that_is_not_utf_8(repository: Path) -> None:
    file = repository / "dbsafety.toml"
    file.write_bytes(b"\n# \xff\n")

    with pytest.raises(ConfigFault) as caught:
        load(repository)

    assert str(caught.value) == f"{file}:2: the configuration is not UTF-8"


def test_a_named_file_that_does_not_exist(repository: Path) -> None:
    with pytest.raises(ConfigFault) as caught:
        load(repository, repository / "no.toml")

    assert str(caught.value) == f"{repository / 'no.toml'}: no such configuration file"


def test_a_table_that_is_none(repository: Path) -> None:
    file = repository / "pyproject.toml"
    file.write_text("[tool]\ndbsafety = 1\n", encoding="utf-8")

    with pytest.raises(ConfigFault) as caught:
        load(repository)

    assert str(caught.value) == f"{file}: [tool.dbsafety] must be a table"


def test_a_folder_in_the_place_of_the_file(repository: Path) -> None:
    (repository / "dbsafety.toml").mkdir()

    with pytest.raises(ConfigFault) as caught:
        load(repository)

    assert str(caught.value).startswith(f"{repository / 'dbsafety.toml'}: cannot read the configuration: ")


def test_a_file_of_our_own_with_the_table_of_pyproject(repository: Path) -> None:
    file = repository / "dbsafety.toml"
    file.write_text('[tool.dbsafety]\nselect = ["DBS1"]\n', encoding="utf-8")

    with pytest.raises(ConfigFault) as caught:
        load(repository)

    assert str(caught.value).endswith("in this file the settings stand without [tool.dbsafety] above them")


def test_settings_from_values() -> None:
    assert settings_from({"ignore": ["DBS1"]}) == Settings(ignore=("DBS1",))
    with pytest.raises(ConfigFault, match="unknown setting 'ignroe'; did you mean 'ignore'"):
        settings_from({"ignroe": []})


def test_overlaid_keeps_the_rest() -> None:
    base = Settings(select=("DBS1",), ignore=("DBS2",))

    assert overlaid(base, {"ignore": ["DBS3"]}) == Settings(select=("DBS1",), ignore=("DBS3",))


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ('[project]\nrequires-python = ">=3.10"\n', (3, 10)),
        ('[project]\nrequires-python = "<4, >= 3.11.2"\n', (3, 11)),
        ('[project]\nrequires-python = "~=3.12"\n', (3, 12)),
        ('[project]\nrequires-python = "==3.13.*"\n', (3, 13)),
        ('[tool.poetry.dependencies]\npython = "^3.9"\n', (3, 9)),
        ('[project]\nrequires-python = "<3.13"\n', None),
        ('[project]\nname = "python"\n', None),
        ("[project\npython", None),
        ('[project]\nrequires-python = ">=3.10"\n[tool.dbsafety]\ntarget-python = "3.12"\n', (3, 12)),
    ],
)
def test_the_oldest_python(repository: Path, text: str, version: tuple[int, int] | None) -> None:
    (repository / "pyproject.toml").write_text(text, encoding="utf-8")

    assert load(repository).settings.target_python == version
    assert load(repository, isolated=True).settings.target_python is None
