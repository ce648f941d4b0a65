"""Golden pairs on real databases: where a function must fail it leaves damage before the fix and none after it.

On a database in order both give the same result and the same rows.
"""

from __future__ import annotations

import ast
import importlib
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest

from dbsafety.proofs.demonstrate import Bench
from dbsafety.proofs.registry import owes_proof
from dbsafety.rules.registry import all_rules
from tests.harness.faces import FIXTURES
from tests.harness.modules import ROOT
from tests.incidents.pythons import pythons
from tests.prove.benches import is_on_postgres
from tests.prove.pair import Call, Pair

PERFORM = Path(__file__).with_name("perform.py")
FOLDERS = [module.rule.code.lower() for module in all_rules() if owes_proof(module.rule)]
FIXED = [path for name in FOLDERS for path in sorted((FIXTURES / name).glob("fix_*.fixed.py"))]


def described() -> Iterator[tuple[str, Pair]]:
    """Folder of fixtures and pair, from the files beside this one."""
    for path in sorted(Path(__file__).with_name("pairs").glob("dbs*.py")):
        for pair in importlib.import_module(f"tests.prove.pairs.{path.stem}").PAIRS:
            yield path.stem, pair


PAIRS = {(name, pair.name): pair for name, pair in described()}
CALLS = [(name, pair, call) for (name, _), pair in PAIRS.items() for call in pair.calls]
SLOW = [one for one in CALLS if one[1].slow]
QUICK = [one for one in CALLS if not one[1].slow]
ON_SQLITE = [one for one in QUICK if not is_on_postgres(one[1].driver)]


def is_plain(name: str, pair: Pair, call: Call) -> bool:
    """Whether the call needs the standard library alone, in the pair's code and in what it is given."""
    tree = ast.parse((FIXTURES / name / f"{pair.name}.py").read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module for node in imports if isinstance(node, ast.ImportFrom) and node.module}
    known = all(module.partition(".")[0] in sys.stdlib_module_names for module in modules)
    return known and not any(word in call.do for word in ("session", "awaited"))


ANYWHERE = [one for one in ON_SQLITE if is_plain(*one)]
OTHER_PYTHONS = {version: path for version, path in pythons().items() if path != Path(sys.executable)}
ON_POSTGRES = [one for one in QUICK if is_on_postgres(one[1].driver)]


def ids(calls: list[tuple[str, Pair, Call]]) -> list[str]:
    return [f"{name}-{pair.name}-{call.function}" for name, pair, call in calls]


def perform(source: str, pair: Pair, call: Call, bench: Bench, *, broken: bool) -> Mapping[str, str]:
    """What one call is seen to do, in a process and a database of its own."""
    parts = asdict(pair) | asdict(call)
    wrecking = {} if broken else {"do": call.happy or call.do, "breaks": (), "holds": "", "inject": (), "then": ""}
    task = {**parts, **wrecking, "server": bench.server, "watch": broken}
    task |= {"name": f"pair_{secrets.token_hex(8)}", "source": source, "place": (*pair.place, *task["inject"])}
    ran = subprocess.run(
        [bench.python, PERFORM],
        input=json.dumps(task),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    seen: Mapping[str, str] = json.loads(ran.stdout)
    return seen


def proven(name: str, pair: Pair, call: Call, server: str = "", python: str = sys.executable) -> None:
    path = FIXTURES / name / f"{pair.name}.py"
    before, after = path.read_text(encoding="utf-8"), path.with_suffix(".fixed.py").read_text(encoding="utf-8")
    jobs = [(text, broken) for broken in (True, False) for text in (before, after)]
    with ThreadPoolExecutor(len(jobs)) as pool:
        found = pool.map(
            lambda job: perform(job[0], pair, call, Bench(pair.driver, server, python), broken=job[1]), jobs
        )
        worst, best, same, same_after = found
    assert call.sign in lines(worst)
    assert call.sign not in lines(best)
    assert same_after == same
    assert "Error" not in same["result"]


def lines(seen: Mapping[str, str]) -> str:
    return "\n".join(f"{label}: {value}" for label, value in seen.items())


@pytest.mark.parametrize(("name", "pair", "call"), ON_SQLITE, ids=ids(ON_SQLITE))
def test_on_sqlite(name: str, pair: Pair, call: Call) -> None:
    proven(name, pair, call)


@pytest.mark.prove
@pytest.mark.parametrize("python", OTHER_PYTHONS.values(), ids=list(OTHER_PYTHONS))
@pytest.mark.parametrize(("name", "pair", "call"), ANYWHERE, ids=ids(ANYWHERE))
def test_on_other_pythons(name: str, pair: Pair, call: Call, python: Path) -> None:
    proven(name, pair, call, python=str(python))


@pytest.mark.xdist_group("pairs on postgres")
@pytest.mark.parametrize(("name", "pair", "call"), ON_POSTGRES, ids=ids(ON_POSTGRES))
def test_on_postgres(name: str, pair: Pair, call: Call, postgres: str) -> None:
    proven(name, pair, call, postgres)


@pytest.mark.prove
@pytest.mark.xdist_group("pairs on another postgres")
@pytest.mark.parametrize(("name", "pair", "call"), ON_POSTGRES, ids=ids(ON_POSTGRES))
def test_on_another_postgres(name: str, pair: Pair, call: Call, other_postgres: str) -> None:
    proven(name, pair, call, other_postgres)


@pytest.mark.prove
@pytest.mark.xdist_group("pairs on postgres")
@pytest.mark.parametrize(("name", "pair", "call"), SLOW, ids=ids(SLOW))
def test_slowly_on_postgres(name: str, pair: Pair, call: Call, postgres: str) -> None:
    proven(name, pair, call, postgres)


@pytest.mark.parametrize("fixed", FIXED, ids=lambda path: f"{path.parent.name}-{path.name.removesuffix('.fixed.py')}")
def test_every_changed_function_is_called(fixed: Path) -> None:
    name, pair = fixed.parent.name, fixed.name.removesuffix(".fixed.py")
    before = functions(fixed.with_name(f"{pair}.py").read_text(encoding="utf-8"))
    after = functions(fixed.read_text(encoding="utf-8"))
    changed = {function for function, text in before.items() if after.get(function) != text}
    called = {call.function for call in PAIRS[name, pair].calls} if (name, pair) in PAIRS else set()
    assert changed - called == set()


def functions(source: str) -> dict[str, str]:
    """Name of each outermost function or method → its tree, and `<module>` for the other statements."""
    found: dict[str, str] = {}

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            match node:
                case ast.ClassDef():
                    visit(node.body, f"{prefix}{node.name}.")
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    found[prefix + node.name] = ast.dump(node)
                case ast.Import() | ast.ImportFrom():
                    pass  # a fix may need a name more
                case _:
                    found["<module>"] = found.get("<module>", "") + ast.dump(node)

    visit(ast.parse(source).body, "")
    return found
