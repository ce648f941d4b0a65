"""The settings: one frozen value whose fields carry their help; options, TOML reading and docs are derived from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from types import MappingProxyType

from dbsafety.model.finding import Confidence, Severity
from dbsafety.model.rewrite import Applicability

OUTPUT_FORMATS = ("full", "concise", "json", "jsonl", "sarif", "github", "gitlab")

DEFAULT_EXCLUDE = (
    ".bzr",
    ".direnv",
    ".eggs",
    ".git",
    ".hg",
    ".mypy_cache",
    ".nox",
    ".pytest_cache",
    ".ruff_cache",
    ".svn",
    ".tox",
    ".venv",
    "__pycache__",
    "__pypackages__",
    "node_modules",
    "site-packages",
    "venv",
)
# Test files by the naming of pytest and unittest, and the folders that hold them.
DEFAULT_TEST_PATHS = (
    *("test_*.py", "*_test.py", "test.py", "tests.py", "conftest.py", "fixtures.py"),
    *("test/", "tests/", "_tests/", "benchmarks/"),
)


class Kind(Enum):
    """The TOML type of a setting and what its strings mean."""

    CODES = "list of codes or their beginnings"
    GLOBS = "list of patterns"
    PATHS = "list of folders"
    FLAG = "true or false"
    SECONDS = "number of seconds"
    NAMES = "list of dotted names"
    VERSION = "version of Python"
    CHOICE = "one word"
    CODES_BY_GLOB = "table: pattern = list of codes"
    CHOICE_BY_CODE = "table: code = word"
    TABLES = "list of tables"


@dataclass(frozen=True, slots=True)
class Setting:
    """The description of one setting: its key in TOML, its type, what it does, its allowed words.

    `flag` says whether it is also a command line option.
    """

    key: str
    kind: Kind
    help: str
    flag: bool = False
    choices: tuple[str, ...] = ()

    @property
    def attribute(self) -> str:
        """The name of the field of `Settings`."""
        return self.key.replace("-", "_")


def _about(key: str, kind: Kind, text: str, *, flag: bool = False, choices: tuple[str, ...] = ()) -> dict[str, Setting]:
    return {"setting": Setting(key, kind, text, flag, choices)}


def _words(enum: type[Enum]) -> tuple[str, ...]:
    return tuple(str(member.value) for member in enum)


def _empty() -> Mapping[str, tuple[str, ...]]:
    return {}


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a user can choose. Patterns are relative to the project root (the configuration file's folder)."""

    select: tuple[str, ...] = field(
        default=(),
        metadata=_about(
            "select",
            Kind.CODES,
            "Rules to run, by code or beginning of a code; ALL means every rule. Empty: the default set.",
            flag=True,
        ),
    )
    extend_select: tuple[str, ...] = field(
        default=(),
        metadata=_about("extend-select", Kind.CODES, "Rules to run besides those of `select`.", flag=True),
    )
    ignore: tuple[str, ...] = field(
        default=(),
        metadata=_about(
            "ignore",
            Kind.CODES,
            "Rules not to run; between `select` and `ignore` the longer beginning wins.",
            flag=True,
        ),
    )
    min_confidence: Confidence = field(
        default=Confidence.MEDIUM,
        metadata=_about(
            "min-confidence",
            Kind.CHOICE,
            "Show findings of at least this confidence.",
            flag=True,
            choices=_words(Confidence),
        ),
    )
    per_file_ignores: Mapping[str, tuple[str, ...]] = field(
        default_factory=_empty,
        metadata=_about("per-file-ignores", Kind.CODES_BY_GLOB, "Rules not to run on the files a pattern matches."),
    )
    severity: Mapping[str, Severity] = field(
        default_factory=dict,
        metadata=_about(
            "severity", Kind.CHOICE_BY_CODE, "The severity to report a rule's findings with.", choices=_words(Severity)
        ),
    )
    exclude: tuple[str, ...] = field(
        default=DEFAULT_EXCLUDE,
        metadata=_about(
            "exclude",
            Kind.GLOBS,
            "Files and folders not to look into, besides what git ignores; replaces the default.",
            flag=True,
        ),
    )
    extend_exclude: tuple[str, ...] = field(
        default=(),
        metadata=_about(
            "extend-exclude", Kind.GLOBS, "Files and folders not to look into, besides `exclude`.", flag=True
        ),
    )
    force_exclude: bool = field(
        default=False,
        metadata=_about(
            "force-exclude", Kind.FLAG, "Apply the exclusions also to files named on the command line.", flag=True
        ),
    )
    source_roots: tuple[str, ...] = field(
        default=(),
        metadata=_about(
            "source-roots",
            Kind.PATHS,
            "Folders that imports start from. Empty: the root, its `src`, and the folders above packages.",
            flag=True,
        ),
    )
    test_paths: tuple[str, ...] = field(
        default=DEFAULT_TEST_PATHS,
        metadata=_about(
            "test-paths",
            Kind.GLOBS,
            "Test files: findings of DBS1xx, DBS2xx and DBS302 have low confidence there; replaces the default.",
        ),
    )
    sqlite_timeout: float = field(
        default=30.0,
        metadata=_about("sqlite-timeout", Kind.SECONDS, "The `timeout` that the fix of DBS201 writes."),
    )
    target_python: tuple[int, int] | None = field(
        default=None,
        metadata=_about(
            "target-python",
            Kind.VERSION,
            "The oldest Python the code runs on, as in `3.11`; without it `requires-python` of pyproject.toml.",
        ),
    )
    slow_calls: tuple[str, ...] = field(
        default=(),
        metadata=_about(
            "slow-calls",
            Kind.NAMES,
            "Your own functions that DBS208 takes for slow, as they are imported; `app.mail.*` means all below.",
        ),
    )
    fix_applicability: Mapping[str, Applicability] = field(
        default_factory=dict,
        metadata=_about(
            "fix-applicability",
            Kind.CHOICE_BY_CODE,
            "How far to trust the fix of a rule: safe fixes are applied by `fix`, unsafe ones with `--unsafe-fixes`.",
            choices=_words(Applicability),
        ),
    )
    wrappers: tuple[Mapping[str, object], ...] = field(
        default=(),
        metadata=_about("wrappers", Kind.TABLES, "Your own functions and classes that wrap a driver's."),
    )
    output_format: str = field(
        default="full",
        metadata=_about("output-format", Kind.CHOICE, "How findings are written.", flag=True, choices=OUTPUT_FORMATS),
    )

    @property
    def excluded(self) -> tuple[str, ...]:
        """All patterns of files and folders not to look into."""
        return (*self.exclude, *self.extend_exclude)


def _table() -> Mapping[str, Setting]:
    described = (item.metadata["setting"] for item in fields(Settings))
    return MappingProxyType({setting.key: setting for setting in described if isinstance(setting, Setting)})


SETTINGS: Mapping[str, Setting] = _table()
"""Every setting by its key, in the order of the documentation."""
