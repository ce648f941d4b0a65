"""Callables that the user declares to make a driver's handles, as rows of the driver table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dbsafety.drivers.spec import ConstructorSpec, DriverSpec, WrapperSetting
from dbsafety.drivers.table import DEFAULT_TABLE, DriverTable


def table_with(wrappers: Sequence[WrapperSetting]) -> DriverTable:
    """The default table with a constructor row for each wrapper; a later wrapper of the same name wins.

    Raises ValueError, with a sentence for the user, for an unknown driver, for a kind of handle that the driver does
    not have, and for a factory that is no dotted name.
    """
    if not wrappers:
        return DEFAULT_TABLE
    added: dict[str, dict[str, ConstructorSpec]] = {spec.name: {} for spec in DEFAULT_TABLE.drivers}
    owners: dict[str, str] = {}
    for wrapper in wrappers:
        spec = _driver(wrapper)
        previous = owners.get(wrapper.factory)
        if previous is not None:
            del added[previous][wrapper.factory]
        owners[wrapper.factory] = spec.name
        added[spec.name][wrapper.factory] = _row(wrapper, spec)
    return DriverTable(tuple(_extended(spec, added[spec.name]) for spec in DEFAULT_TABLE.drivers))


def _driver(wrapper: WrapperSetting) -> DriverSpec:
    for spec in DEFAULT_TABLE.drivers:
        if spec.name == wrapper.driver:
            return spec
    known = ", ".join(spec.name for spec in DEFAULT_TABLE.drivers)
    raise ValueError(f"wrapper `{wrapper.factory}`: no driver `{wrapper.driver}`; known are {known}")


def _row(wrapper: WrapperSetting, spec: DriverSpec) -> ConstructorSpec:
    if not all(part.isidentifier() for part in wrapper.factory.split(".")) or "." not in wrapper.factory:
        raise ValueError(f"wrapper `{wrapper.factory}`: `factory` is a dotted name such as `app.db.get_connection`")
    if wrapper.returns not in spec.handles:
        kinds = ", ".join(kind.value for kind in spec.handles)
        raise ValueError(
            f"wrapper `{wrapper.factory}`: {spec.name} has no {wrapper.returns.value}; `returns` is one of {kinds}"
        )
    return ConstructorSpec(wrapper.returns, is_async=spec.is_async, autocommit=wrapper.autocommit)


def _extended(spec: DriverSpec, rows: Mapping[str, ConstructorSpec]) -> DriverSpec:
    return replace(spec, constructors={**spec.constructors, **rows}) if rows else spec
