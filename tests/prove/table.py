"""`make prove`: every proof on every Python and PostgreSQL of the machine, as a table; exit code 1 unless all are true.

A cell holds three verdicts: the bad example fails as stated, the fixed one does not, and without the error all do the
same. `-` means that the proof needs another database, or packages that only this Python has.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from dbsafety.model.faults import DbsafetyError
from dbsafety.proofs.demonstrate import Bench, demonstrate
from dbsafety.proofs.registry import all_proofs, owes_proof, proof_of
from dbsafety.proofs.variants import EXAMPLE
from dbsafety.rules.registry import all_rules, rule_of
from tests.incidents.pythons import pythons
from tests.prove.benches import is_on_postgres, runs_everywhere, server, servers

VERDICTS = ("bad fails as stated", "fixed does not", "happy path unchanged")
NOT_HERE = "-"


def main() -> int:
    """Print the table, then what is wrong; return the exit code."""
    with contextlib.ExitStack() as stack:
        places = dict(_places(stack))
        codes = all_proofs()
        cells = [(code, place) for code in codes for place in places]
        with ThreadPoolExecutor(2) as pool:
            found = dict(zip(cells, pool.map(lambda cell: _cell(cell[0], places[cell[1]]), cells), strict=True))
    versions = {place: version for (_, place), (_, _, version) in found.items() if version}
    wrong = _print(codes, [*places], versions, {cell: verdicts for cell, (verdicts, _, _) in found.items()})
    for (code, place), (_, why, _) in found.items():
        for line in why:
            sys.stdout.write(f"{code} on {place}: {line}\n")
    unproven = [module.rule.code for module in all_rules() if owes_proof(module.rule) and module.rule.code not in codes]
    sys.stdout.write(f"without a proof: {', '.join(unproven) or 'none'}\n")
    return 1 if wrong or unproven else 0


def _places(stack: contextlib.ExitStack) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Column → the interpreter and, for PostgreSQL, the DSN. Raises EmbeddedError."""
    for version, python in pythons().items():
        yield f"Python {version}", {"python": str(python)}
    for name, folder in servers().items():
        running = stack.enter_context(server(folder))
        yield f"PostgreSQL, {name}", {"dsn": running.dsn, "python": sys.executable}


def _cell(code: str, place: Mapping[str, str]) -> tuple[str, list[str], str]:
    """The verdicts of a rule at a place, on all its drivers there; what was seen where one is false; the database."""
    module, proof = rule_of(code), proof_of(code)
    assert module is not None
    assert proof is not None
    verdicts, why, version = [], [], ""
    for driver in proof.drivers:
        elsewhere = place["python"] != sys.executable and not runs_everywhere(proof, driver)
        if is_on_postgres(driver) != ("dsn" in place) or elsewhere:
            continue
        try:
            shown = demonstrate(module, Bench(driver, place.get("dsn", ""), place["python"]))
        except DbsafetyError as fault:
            return "no  no  no", [str(fault)], ""
        version = shown.failing[EXAMPLE].database
        verdicts.append((shown.bad_fails, shown.fixed_holds, shown.happy_same))
        if not shown.holds:
            why += [f"{name}: {dict(seen.values)}" for name, seen in shown.failing.items()]
            why += [f"{name}, no error: {dict(seen.values)}" for name, seen in shown.happy.items()]
            why.append(f"versions: {shown.failing[EXAMPLE].database}, Python {shown.failing[EXAMPLE].python}")
    if not verdicts:
        return NOT_HERE, [], ""
    return " ".join("yes" if all(column) else "no " for column in zip(*verdicts, strict=True)), why, version


def _print(
    codes: tuple[str, ...], places: list[str], versions: Mapping[str, str], cells: Mapping[tuple[str, str], str]
) -> bool:
    """Write the table; return whether anything in it is false."""
    sys.stdout.write(f"Each cell: {', '.join(VERDICTS)}.\n\n")
    for titles in (places, [versions.get(place, "") for place in places]):
        sys.stdout.write("        " + "  ".join(title.ljust(17) for title in titles).rstrip() + "\n")
    for code in codes:
        sys.stdout.write(f"{code}  " + "  ".join(cells[code, place].ljust(17) for place in places).rstrip() + "\n")
    idle = [code for code in codes if all(cells[code, place] == NOT_HERE for place in places)]
    sys.stdout.write(f"\nrun nowhere: {', '.join(idle) or 'none'}\n")
    return bool(idle) or any("no" in cell for cell in cells.values())


if __name__ == "__main__":
    sys.exit(main())
