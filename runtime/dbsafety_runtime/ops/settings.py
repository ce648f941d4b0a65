"""Settings from a TOML file and the environment into a frozen dataclass; the environment wins."""

from __future__ import annotations

import dataclasses
import os
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar, Union, cast, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PREFIX: Final = "DBSAFETY"
HIDDEN: Final = "***"
TRUE: Final = ("1", "true", "yes", "on")
FALSE: Final = ("0", "false", "no", "off")

T = TypeVar("T", bound="DataclassInstance")


class SettingsError(ValueError):
    """A setting is unknown or has the wrong form; the text is one sentence naming its source."""


def load(
    kind: type[T],
    section: str,
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    **given: object,
) -> T:
    """Return a `kind` whose fields come from `[section]` of `file`, `DBSAFETY_SECTION_FIELD`, then `given` (not None).

    Fields may be str, int, float, bool, Path, tuple[str, ...] or optional ones of these. Raises SettingsError.
    """
    source = os.environ if environ is None else environ
    hints = get_type_hints(kind)
    values: dict[str, object] = {}
    for name, value in _table(section, file).items():
        field = name.replace("-", "_")
        if field not in hints:
            raise SettingsError(f"{file}: unknown setting {section}.{name}")
        values[field] = _convert(hints[field], value, f"{file}: {section}.{name}")
    for field, hint in hints.items():
        variable = f"{PREFIX}_{section}_{field}".upper()
        if variable in source:
            values[field] = _convert(hint, source[variable], f"environment variable {variable}")
    values |= {name: value for name, value in given.items() if value is not None}
    try:
        return kind(**values)
    except ValueError as error:  # values that cannot work together
        raise SettingsError(f"{section} settings: {error}") from error


def describe(settings: DataclassInstance) -> dict[str, object]:
    """Return the settings as a dict that is fit for a log: connection strings are cut down to their names."""
    hide = ("dsn", "token", "password")
    return {
        field.name: HIDDEN if field.name in hide and getattr(settings, field.name) else getattr(settings, field.name)
        for field in dataclasses.fields(settings)
    }


def _table(section: str, file: Path | None) -> Mapping[str, object]:
    if file is None:
        return {}
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8")).get(section, {})
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: not valid TOML: {error}") from error
    if not isinstance(table, dict):
        raise SettingsError(f"{file}: {section} must be a table")
    return cast("Mapping[str, object]", table)


def _convert(hint: object, value: object, where: str) -> object:
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(part for part in get_args(hint) if part is not type(None))
    if get_origin(hint) is tuple:
        parts = value.split(",") if isinstance(value, str) else value
        if isinstance(parts, list) and all(isinstance(part, str) for part in parts):
            return tuple(part.strip() for part in parts if part.strip())
        raise SettingsError(f"{where}: expected a list of texts, got {value!r}")
    if hint is bool:
        return _boolean(value, where)
    if not isinstance(value, str | int | float) or (isinstance(value, bool)):
        raise SettingsError(f"{where}: expected {getattr(hint, '__name__', hint)}, got {value!r}")
    try:
        return cast("type", hint)(value)
    except ValueError as error:
        raise SettingsError(f"{where}: expected {getattr(hint, '__name__', hint)}, got {value!r}") from error


def _boolean(value: object, where: str) -> bool:
    text = str(value).strip().lower()
    if text in TRUE or text in FALSE:
        return text in TRUE
    raise SettingsError(f"{where}: expected true or false, got {value!r}")
