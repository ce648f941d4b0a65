"""The wrappers of the settings as rows of the driver table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dbsafety.config.select import did_you_mean
from dbsafety.drivers.spec import HandleKind, WrapperSetting
from dbsafety.drivers.table import DriverTable
from dbsafety.drivers.wrappers import table_with
from dbsafety.model.faults import ConfigFault

_KEYS = ("factory", "driver", "returns", "autocommit")


def driver_table(wrappers: Sequence[Mapping[str, object]]) -> DriverTable:
    """The driver table with the user's wrappers. Raises ConfigFault when one does not say what it must."""
    try:
        return table_with([_wrapper(table) for table in wrappers])
    except ValueError as error:
        raise ConfigFault(f"wrappers: {error}") from error


def _wrapper(table: Mapping[str, object]) -> WrapperSetting:
    for key in table:
        if key not in _KEYS:
            raise ValueError(f"unknown key {key!r}{did_you_mean(key, _KEYS)}")
    autocommit = table.get("autocommit")
    if not (autocommit is None or isinstance(autocommit, bool)):
        raise ValueError("`autocommit` must be true or false")
    return WrapperSetting(_text(table, "factory"), _text(table, "driver"), _returns(table), autocommit)


def _text(table: Mapping[str, object], key: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value:
        raise ValueError(f"`{key}` must be a text")
    return value


def _returns(table: Mapping[str, object]) -> HandleKind:
    value = table.get("returns", HandleKind.CONNECTION.value)
    known = [kind.value for kind in HandleKind]
    if value not in known:
        raise ValueError(f"`returns` must be one of {', '.join(known)}, not {value!r}")
    return HandleKind(value)
