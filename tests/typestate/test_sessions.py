"""SQLAlchemy's handles: engines, makers, what their blocks bind, names of other packages."""

from __future__ import annotations

import pytest

from tests.typestate.engine import Module

APP = """
from sqlalchemy import create_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlmodel import Session as ModelSession

engine = create_engine("postgresql://localhost/app")
Maker = sessionmaker(engine)
registry = scoped_session(Maker)

def use(given: Session, other: ModelSession, conn):
    local = Maker()
    auto = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    with engine.begin() as begun, Maker.begin() as session, engine.connect() as core, given.begin() as nothing:
        pass
    with Session(engine) as opened, given.begin_nested() as inner:
        pass
    engine, Maker, registry(), given, other, conn, local, auto, begun, session, core, nothing, opened, inner
"""
module = Module(APP)


@pytest.mark.parametrize(
    ("expression", "handle"),
    [
        ("engine", ("sqlalchemy", "factory", "global", "transaction")),
        ("Maker", ("sqlalchemy", "factory", "global", "transaction")),
        ("registry()", ("sqlalchemy", "connection", "global", "transaction")),
        ("given", ("sqlalchemy", "connection", "param", "transaction")),
        ("other", ("sqlalchemy", "connection", "param", "transaction")),
        ("conn", None),
        ("local", ("sqlalchemy", "connection", "local", "transaction")),
        ("auto", ("sqlalchemy", "connection", "site", "autocommit")),
        ("begun", ("sqlalchemy", "connection", "local", "transaction")),
        ("session", ("sqlalchemy", "connection", "local", "transaction")),
        ("core", ("sqlalchemy", "connection", "local", "transaction")),
        ("nothing", None),
        ("opened", ("sqlalchemy", "connection", "local", "transaction")),
        ("inner", None),
    ],
)
def test_handles(expression: str, handle: tuple[str, str, str, str] | None) -> None:
    assert module.handle(expression, "use") == handle
