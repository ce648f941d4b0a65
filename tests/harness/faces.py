"""Shows fixtures to every face of the program: the engine, the command line, flake8 and pylint.

Fixtures are copied into a folder of their own first, so that no configuration but theirs applies and no path component
(`tests/`) changes what the rules say.
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dbsafety.api import check_source
from dbsafety.config.load import settings_from
from dbsafety.config.select import choose
from dbsafety.config.settings import Settings
from dbsafety.model.finding import Finding
from dbsafety.rules.registry import RuleModule, all_rules
from tests.harness.expect import Fixture, Seen, parse
from tests.harness.installs import Ran, run
from tests.harness.modules import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FIXTURES = ROOT / "tests" / "fixtures" / "rules"
SAME_THING = {
    "psycopg": {"psycopg2.extensions.connection": "psycopg.Connection", "psycopg2.extensions.cursor": "psycopg.Cursor"}
}
"""Driver → its names for what the first driver of a header calls otherwise."""
_PYLINT_CODE = re.compile(r"\((DBS\d{3})\)")


@dataclass(frozen=True, slots=True)
class Variant:
    """A fixture under one of its drivers. `name` is a relative path that is unique among all variants."""

    name: str
    source: str
    fixture: Fixture

    @property
    def settings(self) -> Settings:
        """What its `options` header asks for."""
        return settings_from(tomllib.loads("\n".join(self.fixture.options)))


def variants(path: Path) -> tuple[Variant, ...]:
    """The fixture once for each driver of its header; the first driver's name is replaced by the others.

    Raises GrammarError with the file's name when an expectation is malformed.
    """
    with path.open(encoding="utf-8", newline="") as file:
        source = file.read()
    relative = path.relative_to(FIXTURES).as_posix()
    fixture = parse(source, relative)
    first, *others = fixture.drivers or ("",)
    made = [Variant(relative, source, fixture)]
    for driver in others:
        text = source
        for old, new in {**SAME_THING.get(driver, {}), first: driver}.items():
            text = re.sub(rf"\b{re.escape(old)}\b", new, text)
        made.append(Variant(f"{relative.removesuffix('.py')}__{driver}.py", text, parse(text, relative)))
    return tuple(made)


def engine(variant: Variant, *, one_line: bool = False) -> list[Seen]:
    """What the Python interface finds; with `one_line`, what a host with one line for each shows of it."""
    found = check_source(variant.source, path=variant.name, settings=variant.settings)
    return seen(found, variant.source, one_line=one_line)


def seen(findings: Iterable[Finding], source: str, *, one_line: bool = False) -> list[Seen]:
    """Findings with columns as faces show them: 1-based, in characters."""
    lines = [""] + [line.rstrip("\r\n") for line in re.split(r"(?<=\n)|(?<=\r)(?!\n)", source)]
    shown = []
    for one in findings:
        line = lines[one.span.line] if one.span.line < len(lines) else ""
        before = line.encode()[: one.span.col].decode(errors="replace")
        shown.append(Seen(one.span.line, len(before) + 1, one.code, one.said.line if one_line else one.message))
    return shown


Face = Callable[[Sequence[Variant], Path], Mapping[str, list[Seen]]]


def command_line(some: Sequence[Variant], folder: Path) -> Mapping[str, list[Seen]]:
    """What `dbsafety check --output-format jsonl` finds, by the name of the variant."""
    ran = _run(["-m", "dbsafety", "check", "--output-format", "jsonl", *_names(some)], folder, {0, 1})
    found = defaultdict(list)
    for row in map(json.loads, ran.out.splitlines()):
        found[row["path"]].append(Seen(row["line"], row["column"], row["code"], row["message"]))
    return found


def flake8(some: Sequence[Variant], folder: Path) -> Mapping[str, list[Seen]]:
    """What flake8 shows of our codes."""
    form = "--format=%(path)s\t%(row)d\t%(col)d\t%(code)s\t%(text)s"
    asked = ",".join(sorted(module.rule.code for module in _asked(some)))
    ran = _run(["-m", "flake8", f"--select={asked}", "-j1", form, *_names(some)], folder, {0, 1})
    found = defaultdict(list)
    for row in ran.out.splitlines():
        path, line, column, code, message = row.split("\t", 4)
        found[path.removeprefix("./")].append(Seen(int(line), int(column), code, message))
    return found


def pylint(some: Sequence[Variant], folder: Path) -> Mapping[str, list[Seen]]:
    """What pylint shows of our messages; its columns count from 0."""
    asked = ",".join(module.rule.pylint_id for module in _asked(some) if module.rule.code != "DBS001")
    plugin = ["--load-plugins=dbsafety.adapters.pylint", "--disable=all", f"--enable={asked}"]
    ran = _run(
        ["-m", "pylint", "--persistent=n", "--output-format=json2", *plugin, *_names(some)], folder, set(range(32))
    )
    found = defaultdict(list)
    for row in json.loads(ran.out)["messages"]:
        if row["symbol"] == "syntax-error":
            continue
        code = _PYLINT_CODE.search(row["message"])
        if code is None:
            raise ValueError(f"pylint said something else: {row}")
        message = row["message"].replace(f"({code[1]})", "").strip()
        found[row["path"]].append(Seen(row["line"], row["column"] + 1, code[1], message))
    return found


FACES: Mapping[str, Face] = {"command line": command_line, "flake8": flake8, "pylint": pylint}


def through(face: Face, some: Iterable[Variant], folder: Path) -> dict[str, list[Seen]]:
    """Show variants to a face in as few runs as their options allow: one folder, one configuration, one run each."""
    groups: dict[tuple[str, ...], list[Variant]] = defaultdict(list)
    for variant in some:
        groups[variant.fixture.options].append(variant)
    found: dict[str, list[Seen]] = {}
    for number, (options, members) in enumerate(groups.items()):
        place = folder / f"group{number}"
        for member in members:
            target = place / member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(member.source.encode())
        (place / "pyproject.toml").write_text("\n".join(["[tool.dbsafety]", *options, ""]), encoding="utf-8")
        shown = face(members, place)
        found.update({member.name: shown.get(member.name, []) for member in members})
    return found


def _asked(some: Sequence[Variant]) -> list[RuleModule]:
    """The rules that the options of the variants, which are the same for all, choose: a host hides the others."""
    settings, known = some[0].settings, {module.rule.code: module.rule.default for module in all_rules()}
    chosen = choose(settings.select, settings.extend_select, settings.ignore, known)
    return [module for module in all_rules() if module.rule.code in chosen]


def _names(some: Iterable[Variant]) -> list[str]:
    return [variant.name for variant in some]


def _run(arguments: Sequence[str], folder: Path, codes: set[int]) -> Ran:
    ran = run([sys.executable, *arguments], folder)
    if ran.code not in codes:
        raise RuntimeError(f"{arguments[:3]} ended with {ran.code}\n{ran.out}\n{ran.err}")
    return ran
