"""The proof of DBS111: an error swallowed inside `atomic()`, and the block ends normally and stores nothing."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

from dbsafety.proofs.proof import Proof
from dbsafety.proofs.stage import Stage

PROOF = Proof(
    facts=("B2", "B10c"),
    drivers=("sqlite3", "psycopg2"),
    needs=("django",),
    setup=(
        "CREATE TABLE person (id integer PRIMARY KEY, name text)",
        "CREATE TABLE profile (id integer PRIMARY KEY, nick text UNIQUE)",
        "INSERT INTO profile VALUES (7, 'taken')",
    ),
    story="A user is registered with a profile that exists already, which the handler is meant to put up with.",
    bad={"register()": "nothing", "people": "[]"},
    good={"register()": "nothing", "people": "['ann']"},
)


def failing(stage: Stage) -> None:
    """The nick is taken."""
    person, profile = models(stage)
    call = stage.example.register
    stage.see("register()", stage.attempt(lambda: call(person(id=1, name="ann"), profile(id=8, nick="taken"))))
    stage.see("people", stage.values("SELECT name FROM person"))


def happy(stage: Stage) -> None:
    """The nick is free."""
    person, profile = models(stage)
    stage.see("register()", stage.example.register(person(id=1, name="ann"), profile(id=8, nick="free")))
    stage.see("people", stage.values("SELECT name FROM person"))
    stage.see("profiles", stage.values("SELECT nick FROM profile ORDER BY id"))


def models(stage: Stage) -> tuple[Any, Any]:
    """Django set up for the stage's database, and a model for each of its two tables."""
    django: Any = SimpleNamespace(
        conf=importlib.import_module("django.conf"), apps=importlib.import_module("django.apps").apps
    )
    django.conf.settings.configure(
        DATABASES={"default": _database(stage)}, DEFAULT_AUTO_FIELD="django.db.models.AutoField"
    )
    django.apps.populate([])
    models = importlib.import_module("django.db.models")

    def model(name: str, column: str) -> Any:
        meta = type("Meta", (), {"app_label": "proof", "db_table": name.lower()})
        fields = {"id": models.IntegerField(primary_key=True), column: models.TextField()}
        return type(name, (models.Model,), {"__module__": __name__, "Meta": meta, **fields})

    return model("Person", "name"), model("Profile", "nick")


def _database(stage: Stage) -> dict[str, object]:
    if stage.is_sqlite:
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": stage.address}
    parts = importlib.import_module("psycopg2.extensions").parse_dsn(stage.address)
    names = {"dbname": "NAME", "user": "USER", "host": "HOST", "port": "PORT", "password": "PASSWORD"}
    known = {names[key]: value for key, value in parts.items() if key in names}
    other = {key: value for key, value in parts.items() if key not in names}
    return {"ENGINE": "django.db.backends.postgresql", **known, "OPTIONS": other}
