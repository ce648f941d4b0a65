"""The prefilter over bytes."""

from __future__ import annotations

import pytest

from dbsafety.drivers.table import DEFAULT_TABLE, FULL_TABLE
from dbsafety.drivers.vocabulary import LEFT_OUT, MAKERS, WATCHED, relevant, words


def test_the_words_of_the_default_table() -> None:
    assert words(DEFAULT_TABLE) == (
        *(b".begin(", b".callproc(", b".commit(", b".copy_expert(", b".copy_from(", b".copy_to(", b".cursor("),
        *(b".execute", b".getconn(", b".rollback(", b".transaction(", b"aiosqlite", b"asyncpg"),
        *(b"django.db", b"psycopg", b"sqlalchemy", b"sqlite3", b"sqlmodel"),
    )


@pytest.mark.parametrize("data", [b"import psycopg2", b"c.executemany(q, r)", b"self.db.rollback()", b"pool.getconn()"])
def test_what_can_matter_is_relevant(data: bytes) -> None:
    assert relevant(data)


@pytest.mark.parametrize("data", [b"", b"import os\n", b"d.copy()\n", b"commit = 1", b"\xff\xfe\x00", b"f.close()"])
def test_what_cannot_matter_is_not(data: bytes) -> None:
    assert not relevant(data)


def test_every_watched_method_has_a_word_or_is_left_out_on_purpose() -> None:
    known = words(FULL_TABLE)
    unseen = {
        name
        for spec in FULL_TABLE.drivers
        for handle in spec.handles.values()
        for name, method in handle.methods.items()
        if method.effect in WATCHED or name in MAKERS
        if not any(word in f".{name}(".encode() for word in known)
    }
    assert unseen <= LEFT_OUT
