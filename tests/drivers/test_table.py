"""Look-ups in the driver table."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from dbsafety.drivers.spec import Effect, HandleKind, Switch
from dbsafety.drivers.table import DEFAULT_TABLE, ENABLED, FULL_TABLE, DriverTable, all_drivers


@pytest.mark.parametrize(
    ("dotted", "driver", "kind"),
    [
        ("psycopg2.connect", "psycopg2", HandleKind.CONNECTION),
        ("psycopg2.pool.ThreadedConnectionPool", "psycopg2", HandleKind.POOL),
        ("psycopg.AsyncConnection.connect", "psycopg", HandleKind.CONNECTION),
        ("psycopg_pool.ConnectionPool", "psycopg", HandleKind.POOL),
        ("sqlite3.connect", "sqlite3", HandleKind.CONNECTION),
        ("aiosqlite.connect", "aiosqlite", HandleKind.CONNECTION),
    ],
)
def test_constructors_are_found_by_dotted_name(dotted: str, driver: str, kind: HandleKind) -> None:
    found = DEFAULT_TABLE.constructor(dotted)
    assert found is not None
    assert (found[0].name, found[1].kind) == (driver, kind)


@pytest.mark.parametrize(
    ("alias", "canonical"),
    [
        ("psycopg2._psycopg.OperationalError", "psycopg2.OperationalError"),
        ("psycopg2.errors.DataError", "psycopg2.DataError"),
        ("psycopg2.errors.QueryCanceledError", "psycopg2.extensions.QueryCanceledError"),
        ("sqlite3.dbapi2.connect", "sqlite3.connect"),
        ("psycopg.errors.Error", "psycopg.Error"),
        ("aiosqlite.Error", "sqlite3.Error"),
        ("sqlite3.connect", "sqlite3.connect"),
        ("nobody.knows", "nobody.knows"),
    ],
)
def test_aliases_lead_to_the_name_of_the_table(alias: str, canonical: str) -> None:
    assert DEFAULT_TABLE.canonical(alias) == canonical


def test_canonical_names_are_their_own() -> None:
    chained = [new for spec in FULL_TABLE.drivers for new in spec.aliases.values() if FULL_TABLE.canonical(new) != new]
    assert chained == []


def test_errors_belong_to_the_driver_that_defines_them() -> None:
    found = DEFAULT_TABLE.error("sqlite3.OperationalError")
    assert found is not None
    assert found[0].name == "sqlite3"
    assert "sqlite3.OperationalError" in DEFAULT_TABLE.driver("aiosqlite").errors


@pytest.mark.parametrize(
    ("dotted", "covers", "aborts"),
    [
        ("psycopg2.Error", True, True),
        ("psycopg2.DatabaseError", True, True),
        ("psycopg2.InterfaceError", False, False),
        ("psycopg2.errors.UniqueViolation", False, True),
        ("psycopg2.errors.AdminShutdown", False, False),
        ("psycopg2.pool.PoolError", False, False),
        ("psycopg.errors.SerializationFailure", False, True),
        ("sqlite3.IntegrityError", False, True),
    ],
)
def test_what_an_error_says_about_the_transaction(dotted: str, covers: bool, aborts: bool) -> None:
    found = DEFAULT_TABLE.error(dotted)
    assert found is not None
    assert (found[1].covers, found[1].aborts) == (covers, aborts)


def test_functions_and_classes() -> None:
    function = DEFAULT_TABLE.function("psycopg2.extras.execute_values")
    assert function is not None
    assert (function[1].effect, function[1].handle, function[1].sql) == (Effect.EXECUTE, 0, 1)
    found = DEFAULT_TABLE.handle_class("psycopg2.extras.RealDictCursor")
    assert found is not None
    assert (found[0].name, found[1]) == ("psycopg2", HandleKind.CURSOR)
    assert DEFAULT_TABLE.handle_class("psycopg.AsyncCursor") is not None
    assert DEFAULT_TABLE.function("psycopg2.connect") is None


def test_objects_and_containers_of_django() -> None:
    found = FULL_TABLE.object("django.db.connection")
    assert found is not None
    assert (found[0].name, found[1]) == ("django", HandleKind.CONNECTION)
    assert FULL_TABLE.container("django.db.connections") is not None
    assert DEFAULT_TABLE.object("django.db.connection") == found


def test_only_enabled_drivers_are_in_the_default_table() -> None:
    assert tuple(spec.name for spec in DEFAULT_TABLE.drivers) == ENABLED
    assert all_drivers() == DEFAULT_TABLE.drivers
    assert set(ENABLED) <= {spec.name for spec in FULL_TABLE.drivers}
    with pytest.raises(KeyError):
        DEFAULT_TABLE.driver("oracledb")


def test_autocommit_of_psycopg2_is_switched_by_exactly_these_spellings() -> None:
    switches = DEFAULT_TABLE.driver("psycopg2").autocommit
    assert [(switch.by, switch.name) for switch in switches] == [
        (Switch.KEYWORD, "async_"),
        (Switch.KEYWORD, "async"),
        (Switch.ATTRIBUTE, "autocommit"),
        (Switch.METHOD, "set_session"),
        (Switch.METHOD, "set_isolation_level"),
    ]
    assert switches[-1].on == (0, "psycopg2.extensions.ISOLATION_LEVEL_AUTOCOMMIT")


def test_the_digest_is_the_same_in_another_process() -> None:
    code = "from dbsafety.drivers.table import DEFAULT_TABLE as t; print(t.digest())"
    seeds = ("0", "7")
    told = {
        subprocess.check_output([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, text=True) for seed in seeds
    }
    assert told == {DEFAULT_TABLE.digest() + "\n"}


def test_the_digest_follows_every_row() -> None:
    first, *others = DEFAULT_TABLE.drivers
    changed = DriverTable((replace(first, closed_attributes=("shut",)), *others))
    assert changed.digest() != DEFAULT_TABLE.digest()
    assert DriverTable(others).digest() != DEFAULT_TABLE.digest()
