"""Finds the configuration of a project and reads it: `[tool.dbsafety]` of pyproject.toml, or dbsafety.toml."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dbsafety.config.convert import Misfit, convert
from dbsafety.config.lines import SHARED_FILE, line_of
from dbsafety.config.python import oldest_python
from dbsafety.config.select import did_you_mean
from dbsafety.config.settings import SETTINGS, Settings
from dbsafety.model.faults import ConfigFault

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

OWN_FILE = "dbsafety.toml"
_REPOSITORY_MARKS = (".git", ".hg", ".svn")


@dataclass(frozen=True, slots=True)
class Configuration:
    """Settings with the folder their patterns start from and the file they come from, None for the defaults."""

    settings: Settings
    root: Path
    file: Path | None = None


def load(start: Path, file: Path | None = None, *, isolated: bool = False) -> Configuration:
    """The configuration for files below `start`, an existing folder.

    Looks for the nearest dbsafety.toml, or pyproject.toml with a `[tool.dbsafety]` table, from `start` up to the
    folder that holds the repository; `file` names it instead, `isolated` reads none. The root is the folder of that
    file, else the repository's, else `start`. The oldest Python is taken from pyproject.toml of the root where no
    setting names it. Raises ConfigFault with file and line.
    """
    found = _found(start, file, isolated=isolated)
    if isolated or found.settings.target_python is not None:
        return found
    return replace(found, settings=replace(found.settings, target_python=oldest_python(found.root)))


def _found(start: Path, file: Path | None, *, isolated: bool) -> Configuration:
    start = Path(os.path.normpath(start.absolute()))
    repository = next((folder for folder in (start, *start.parents) if _is_repository(folder)), None)
    if isolated:
        return Configuration(Settings(), repository or start)
    if file is not None:
        table = _table(file, required=True)
        return Configuration(_settings(file, table or {}), Path(os.path.normpath(file.absolute())).parent, file)
    for folder in (start, *start.parents):
        for name in (OWN_FILE, SHARED_FILE):
            candidate = folder / name
            table = _table(candidate, required=False)
            if table is not None:
                return Configuration(_settings(candidate, table), folder, candidate)
        if folder == repository:
            break
    return Configuration(Settings(), repository or start)


def settings_from(table: Mapping[str, object]) -> Settings:
    """Settings from values as they stand in TOML, for callers that hold them already. Raises ConfigFault."""
    return _settings(None, table)


def overlaid(settings: Settings, table: Mapping[str, object]) -> Settings:
    """The settings with some replaced by values as TOML would give them. Raises ConfigFault."""
    values: dict[str, Any] = {SETTINGS[key].attribute: _converted(None, key, value) for key, value in table.items()}
    return replace(settings, **values)


def _is_repository(folder: Path) -> bool:
    return any((folder / mark).exists() for mark in _REPOSITORY_MARKS)


def _table(file: Path, *, required: bool) -> Mapping[str, object] | None:
    """The table of the tool in a file; None when the file does not exist or does not speak of it."""
    try:
        data = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        if required:
            raise ConfigFault("no such configuration file", str(file)) from error
        return None
    except OSError as error:
        raise ConfigFault(f"cannot read the configuration: {error.strerror}", str(file)) from error
    if file.name == SHARED_FILE and b"dbsafety" not in data:
        return {} if required else None
    document = _parse(file, data)
    if file.name != SHARED_FILE:
        return document
    tool = document.get("tool", {})
    table = tool.get("dbsafety") if isinstance(tool, dict) else None
    if table is None:
        return {} if required else None
    if not isinstance(table, dict):
        raise ConfigFault("[tool.dbsafety] must be a table", str(file))
    return table


def _parse(file: Path, data: bytes) -> Mapping[str, object]:
    try:
        document: Mapping[str, object] = tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigFault("the configuration is not UTF-8", str(file), line) from error
    except tomllib.TOMLDecodeError as error:
        what, line = _without_place(str(error))
        raise ConfigFault(f"not valid TOML: {what}", str(file), line) from error
    return document


def _without_place(error: str) -> tuple[str, int]:
    """What the reader of TOML says, and the line that it names, 0 for none."""
    found = re.fullmatch(r"(.*) \(at line (\d+), column \d+\)", error, re.DOTALL)
    return (found[1], int(found[2])) if found is not None else (error, 0)


def _settings(file: Path | None, table: Mapping[str, object]) -> Settings:
    values: dict[str, Any] = {}  # what `convert` made of each; a test compares it with the fields
    for key, value in table.items():
        if key == "tool" and file is not None:
            raise _fault(file, key, "in this file the settings stand without [tool.dbsafety] above them")
        if key not in SETTINGS:
            raise _fault(file, key, f"unknown setting {key!r}{did_you_mean(key, SETTINGS)}")
        values[SETTINGS[key].attribute] = _converted(file, key, value)
    return Settings(**values)


def _converted(file: Path | None, key: str, value: object) -> object:
    try:
        return convert(SETTINGS[key], value)
    except Misfit as error:
        raise _fault(file, key, f"{key}: {error}", error.inner) from error


def _fault(file: Path | None, key: str, message: str, inner: str = "") -> ConfigFault:
    if file is None:
        return ConfigFault(message)
    return ConfigFault(message, str(file), line_of(file, key, inner))
