"""Each rule's page is run: the Example fails as stated, the fixed one and Use instead do not, else they do the same.

This is this Python and one PostgreSQL; `make prove` runs the same on all there are, see `table.py`.
"""

from __future__ import annotations

import pytest

from dbsafety.proofs.demonstrate import Bench, Demonstration, demonstrate
from dbsafety.proofs.proof import Proof
from dbsafety.proofs.registry import all_proofs, proof_of
from dbsafety.proofs.variants import EXAMPLE, FIXED, INSTEAD
from dbsafety.rules.registry import rule_of
from tests.prove.benches import is_on_postgres

PROOFS = {code: proof for code in all_proofs() if (proof := proof_of(code)) is not None}
RUNS = [(code, driver) for code, proof in PROOFS.items() for driver in proof.drivers]
ON_SQLITE = [run for run in RUNS if not is_on_postgres(run[1])]
ON_POSTGRES = [run for run in RUNS if is_on_postgres(run[1])]


def proven(code: str, bench: Bench) -> None:
    """Run a proof and compare what was seen, text by text, so that a failure says what was seen instead."""
    module = rule_of(code)
    assert module is not None
    shown = demonstrate(module, bench)
    assert {name: dict(seen.values) for name, seen in shown.failing.items()} == _stated(shown)
    first = dict(shown.happy[EXAMPLE].values)
    assert {name: dict(seen.values) for name, seen in shown.happy.items()} == dict.fromkeys(shown.happy, first)
    assert (shown.bad_fails, shown.fixed_holds, shown.happy_same) == (True, True, True)


def _stated(shown: Demonstration) -> dict[str, dict[str, str]]:
    """What the proof states, with each `...` filled in by what was seen where that begins so."""
    proof: Proof = shown.proof
    due = {EXAMPLE: proof.bad, FIXED: proof.good, INSTEAD: proof.instead or proof.good}
    return {
        name: {label: _filled(value, seen.values.get(label, "")) for label, value in due[name].items()}
        for name, seen in shown.failing.items()
    }


def _filled(stated: str, seen: str) -> str:
    return seen if stated.endswith("...") and seen.startswith(stated[:-3]) else stated


@pytest.mark.parametrize(("code", "driver"), ON_SQLITE)
def test_on_sqlite(code: str, driver: str) -> None:
    proven(code, Bench(driver))


@pytest.mark.xdist_group("proofs on postgres")
@pytest.mark.parametrize(("code", "driver"), ON_POSTGRES)
def test_on_postgres(code: str, driver: str, postgres: str) -> None:
    proven(code, Bench(driver, postgres))
