"""Turns a TOML value into what a field of `Settings` holds, or says in words why it does not fit."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import TypeVar

from dbsafety.config.select import did_you_mean
from dbsafety.config.settings import Kind, Setting
from dbsafety.model.finding import Confidence, Severity
from dbsafety.model.rewrite import Applicability


class Misfit(Exception):
    """The value does not fit the setting; the text says what would.

    `inner` is the key in the table, or the string in the list, that does not fit; "" for the whole.
    """

    def __init__(self, text: str, inner: str = "") -> None:
        self.inner = inner
        super().__init__(text)


_Made = TypeVar("_Made")
_ENUMS: Mapping[str, type[Enum]] = {
    "min-confidence": Confidence,
    "severity": Severity,
    "fix-applicability": Applicability,
}


def convert(setting: Setting, value: object) -> object:
    """The value of the field for a value as TOML gives it. Raises Misfit."""
    return _CONVERTERS[setting.kind](setting, value)


def _strings(setting: Setting, value: object) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise Misfit(f"must be a list of strings ({setting.kind.value})")


def _flag(_setting: Setting, value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise Misfit("must be true or false")


def _seconds(_setting: Setting, value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf"):
        return float(value)
    raise Misfit("must be a number of seconds above 0")


def _names(setting: Setting, value: object) -> tuple[str, ...]:
    names = _strings(setting, value)
    for name in names:
        if not all(part.isidentifier() for part in name.removesuffix(".*").split(".")):
            raise Misfit(f"must be a list of dotted names, not {name!r}", name)
    return names


def _version(_setting: Setting, value: object) -> tuple[int, int]:
    found = re.fullmatch(r"3\.(\d{1,2})(\.\d+)?", value) if isinstance(value, str) else None
    if found is None:
        raise Misfit('must be a version of Python 3 in quotes, as in "3.11"')
    return 3, int(found.group(1))


def _choice(setting: Setting, value: object) -> object:
    if value not in setting.choices:
        hint = did_you_mean(value, setting.choices) if isinstance(value, str) else ""
        raise Misfit(f"must be one of {', '.join(setting.choices)}, not {value!r}{hint}")
    enum = _ENUMS.get(setting.key)
    return enum(value) if enum is not None else value


def _codes_by_glob(setting: Setting, value: object) -> Mapping[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        raise Misfit(f"must be a {setting.kind.value}")
    return {str(pattern): _inside(pattern, _strings, setting, codes) for pattern, codes in value.items()}


def _choice_by_code(setting: Setting, value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise Misfit(f"must be a {setting.kind.value}")
    return {str(code): _inside(code, _choice, setting, word) for code, word in value.items()}


def _inside(key: str, made: Callable[[Setting, object], _Made], setting: Setting, value: object) -> _Made:
    """What is made of the value at a key of a table; a misfit names the key."""
    try:
        return made(setting, value)
    except Misfit as error:
        raise Misfit(f"{key}: {error}", key) from error


def _tables(setting: Setting, value: object) -> tuple[Mapping[str, object], ...]:
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return tuple(value)
    raise Misfit(f"must be a {setting.kind.value} ([[tool.dbsafety.{setting.key}]])")


_CONVERTERS: Mapping[Kind, Callable[[Setting, object], object]] = {
    Kind.CODES: _strings,
    Kind.GLOBS: _strings,
    Kind.PATHS: _strings,
    Kind.FLAG: _flag,
    Kind.SECONDS: _seconds,
    Kind.NAMES: _names,
    Kind.VERSION: _version,
    Kind.CHOICE: _choice,
    Kind.CODES_BY_GLOB: _codes_by_glob,
    Kind.CHOICE_BY_CODE: _choice_by_code,
    Kind.TABLES: _tables,
}
