"""The command line: arguments made from the table of settings, and settings made from arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dbsafety import __version__
from dbsafety.config.load import Configuration, load, overlaid
from dbsafety.config.select import require_known
from dbsafety.config.settings import SETTINGS, Kind, Setting
from dbsafety.model.faults import UsageFault
from dbsafety.rules.registry import RETIRED, all_rules

STDIN = "-"
_UNNAMED = "<stdin>"
_LISTS = (Kind.CODES, Kind.GLOBS, Kind.PATHS)


def parser(commands: Mapping[str, Callable[[argparse.ArgumentParser], None]]) -> argparse.ArgumentParser:
    """The parser of the whole command line; each command adds its own arguments."""
    top = argparse.ArgumentParser(
        prog="dbsafety",
        description="Finds and fixes unsafe database error handling in Python.",
        epilog="Begin with `dbsafety check`; `dbsafety COMMAND --help` lists the options. Exit codes: 0 for nothing to "
        "report, 1 for findings, 2 for what cannot be used (command line, configuration, file).",
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"dbsafety {__version__}")
    children = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, add in commands.items():
        summary, _, _ = (add.__doc__ or "").partition("\n")
        child = children.add_parser(name, help=summary.rstrip("."), description=summary, allow_abbrev=False)
        add(child)
    return top


def add_paths(to: argparse.ArgumentParser) -> None:
    """The files to work on."""
    to.add_argument(
        "paths", nargs="*", default=["."], metavar="PATH", help="files and folders; default: . ; - reads standard input"
    )
    to.add_argument(
        "--stdin-filename", metavar="NAME", default=_UNNAMED, help="the name of what comes from standard input"
    )


def add_settings(to: argparse.ArgumentParser, *leave_out: str) -> None:
    """The settings that have an option, and where to read the others."""
    for setting in SETTINGS.values():
        if setting.flag and setting.key not in leave_out:
            _add(to, setting)
    where = to.add_mutually_exclusive_group()
    where.add_argument(
        "--config", metavar="FILE", type=Path, help="read this pyproject.toml or dbsafety.toml, not the nearest"
    )
    where.add_argument("--isolated", action="store_true", help="read no configuration file")


def add_output(to: argparse.ArgumentParser) -> None:
    """How the work is done and its result is shown."""
    to.add_argument("--output", metavar="FILE", type=Path, help="write the findings there, not to standard output")
    to.add_argument("--statistics", action="store_true", help="print how many findings each rule has")
    to.add_argument("--exit-zero", action="store_true", help="exit with 0 in spite of findings")
    to.add_argument("--jobs", "-j", type=_count, metavar="N", help="processes; default: as many as the work needs")
    to.add_argument("--quiet", "-q", action="store_true", help="print findings and errors only: no summary, no notes")
    to.add_argument("--color", choices=("auto", "always", "never"), default="auto", help="default: auto, on a terminal")


def _count(text: str) -> int:
    """A number of processes, at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, not {text!r}")
    return int(text)


def _add(to: argparse.ArgumentParser, setting: Setting) -> None:
    if setting.kind is Kind.FLAG:
        to.add_argument(f"--{setting.key}", action="store_true", default=None, help=setting.help)
    elif setting.kind in _LISTS:
        metavar = {Kind.CODES: "CODES", Kind.GLOBS: "PATTERNS", Kind.PATHS: "FOLDERS"}[setting.kind]
        to.add_argument(
            f"--{setting.key}", action="append", metavar=metavar, help=f"{setting.help} Separate by commas."
        )
    else:
        to.add_argument(f"--{setting.key}", choices=setting.choices, help=setting.help)


@dataclass(frozen=True, slots=True)
class Arguments:
    """What every command that checks files is given. `paths` is empty for standard input."""

    paths: tuple[str, ...]
    stdin_filename: str
    configuration: Configuration
    quiet: bool
    color: str

    @property
    def reads_stdin(self) -> bool:
        """Whether the source comes from standard input."""
        return not self.paths


def arguments(found: argparse.Namespace) -> Arguments:
    """Read the configuration and put the options over it. Raises UsageFault and ConfigFault."""
    paths = tuple(found.paths)
    if STDIN in paths and len(paths) > 1:
        raise UsageFault("- (standard input) cannot be combined with other paths")
    if "" in paths:
        raise UsageFault("a path is empty")
    reads_stdin = paths == (STDIN,)
    if not reads_stdin and found.stdin_filename not in ("", _UNNAMED):
        raise UsageFault("--stdin-filename is for what comes from standard input: give - as the path")
    start = _start((found.stdin_filename,) if reads_stdin else paths)
    configuration = load(start, found.config, isolated=found.isolated)
    return Arguments(
        () if reads_stdin else paths,
        found.stdin_filename,
        _overridden(configuration, found),
        found.quiet,
        found.color,
    )


def _start(paths: Sequence[str]) -> Path:
    """The nearest folder that holds all paths: there the search for the configuration begins."""
    folders = [path.absolute() if path.is_dir() else path.absolute().parent for path in map(Path, paths)]
    for folder in (folders[0], *folders[0].parents):
        if all(other == folder or folder in other.parents for other in folders):
            return folder
    return Path.cwd()


def _overridden(configuration: Configuration, found: argparse.Namespace) -> Configuration:
    known = {module.rule.code: module.rule.default for module in all_rules()}
    table: dict[str, object] = {}
    for setting in SETTINGS.values():
        value = getattr(found, setting.attribute, None)
        if value is None:
            continue
        if setting.kind in _LISTS:
            value = [word for part in value for word in part.replace(",", " ").split()]
        if setting.kind is Kind.CODES:
            require_known(value, known, RETIRED, f"--{setting.key}")
        if setting.kind is Kind.PATHS:
            _require_folders(value, configuration.root, f"--{setting.key}")
        if setting.key == "extend-select":
            value = [*configuration.settings.extend_select, *value]
        table[setting.key] = value
    return replace(configuration, settings=overlaid(configuration.settings, table))


def _require_folders(folders: Sequence[str], root: Path, option: str) -> None:
    missing = next((folder for folder in folders if not (root / folder).is_dir()), None)
    if missing is not None:
        raise UsageFault(f"{option}: {root / missing}: no such folder")
