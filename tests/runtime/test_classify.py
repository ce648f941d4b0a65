"""Failures are classed by SQLSTATE or result code; every class of the design has its examples."""

from __future__ import annotations

import sqlite3

import pytest

from dbsafety_runtime.storage.classify import CLASSES, classify_sqlite, classify_sqlstate, fault_of
from dbsafety_runtime.storage.errors import Disconnected, Fault, StorageFault


@pytest.mark.parametrize(
    ("sqlstate", "closed", "expected"),
    [
        ("40001", False, Fault.RETRY), ("40P01", False, Fault.RETRY), ("55P03", False, Fault.RETRY),
        ("57014", False, Fault.RETRY), ("57P01", True, Fault.RECONNECT), ("57P03", True, Fault.RECONNECT),
        ("08006", True, Fault.RECONNECT), (None, True, Fault.RECONNECT), ("25P03", True, Fault.RECONNECT),
        ("08007", True, Fault.COMMIT_UNKNOWN), ("40003", True, Fault.COMMIT_UNKNOWN),
        ("53100", False, Fault.RESOURCE), ("53300", False, Fault.RESOURCE), ("58030", False, Fault.RESOURCE),
        ("25006", False, Fault.RESOURCE), ("22012", False, Fault.REJECTED), ("23505", False, Fault.REJECTED),
        ("P0001", False, Fault.REJECTED), ("54000", False, Fault.REJECTED), ("44000", False, Fault.REJECTED),
        ("42P01", False, Fault.BUG), ("25P02", False, Fault.BUG), ("42601", False, Fault.BUG),
        (None, False, Fault.BUG), ("XX000", False, Fault.BUG), ("XX000", True, Fault.RECONNECT),
    ],
)  # fmt: skip
def test_sqlstates(sqlstate: str | None, closed: bool, expected: Fault) -> None:
    assert classify_sqlstate(sqlstate, closed=closed) is expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (5, Fault.RETRY), (517, Fault.RETRY), (6, Fault.RETRY), (13, Fault.RESOURCE), (10, Fault.RESOURCE),
        (778, Fault.RESOURCE), (19, Fault.REJECTED), (2067, Fault.REJECTED), (1, Fault.BUG), (21, Fault.BUG),
    ],
)  # fmt: skip
def test_sqlite_result_codes(code: int, expected: Fault) -> None:
    error = sqlite3.OperationalError("text does not matter: database is locked")
    error.sqlite_errorcode = code
    assert classify_sqlite(error) is expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (sqlite3.IntegrityError, Fault.REJECTED), (sqlite3.DataError, Fault.REJECTED),
        (sqlite3.OperationalError, Fault.RETRY), (sqlite3.ProgrammingError, Fault.BUG),
    ],
)  # fmt: skip
def test_without_a_result_code_the_class_decides(kind: type[sqlite3.Error], expected: Fault) -> None:
    assert classify_sqlite(kind("no code")) is expected


def test_every_class_has_its_exception_with_the_first_line_of_the_message() -> None:
    assert {kind.fault for kind in CLASSES.values()} == set(Fault)
    fault: StorageFault = fault_of(Fault.RECONNECT, "gone\nDETAIL: more", "57P01")
    assert (type(fault), str(fault), fault.code) == (Disconnected, "gone", "57P01")
    assert str(fault_of(Fault.BUG, "")) == "bug"
