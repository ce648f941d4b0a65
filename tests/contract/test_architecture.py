"""The plan of the house as data: who may import whom, and how big anything may grow."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator

import pytest

from tests.harness.modules import Import, Module, cycle, internal_edges, modules

LEGS = ("model",)
FACTS = ("source", "drivers", "flow", "model")
TYPESTATE = ("facts", "drivers", "flow", "model")
VIEWS = ("typestate", *TYPESTATE)
PLANS = ("views", *VIEWS)
RULES = ("plans", *PLANS)
CHECK = ("rules", "source", "config", *RULES)
FIX = ("check", "source", "model")
OUTPUT = ("rules", "model")
PROJECT = ("fix", "check", *CHECK)
FACES = ("project", "output", *PROJECT)

LAYERS: dict[str, tuple[str, ...]] = {
    "": ("model",),  # dbsafety/__init__.py
    "model": (),
    "source": LEGS,
    "config": LEGS,
    "drivers": LEGS,
    "flow": LEGS,
    "facts": FACTS,
    "typestate": TYPESTATE,
    "views": VIEWS,
    "plans": PLANS,
    "rules": RULES,
    "check": CHECK,
    "fix": FIX,
    "output": OUTPUT,
    "adapters": ("check", *CHECK),
    "project": PROJECT,
    "api": FACES,
    "proofs": ("api", *FACES),
    "cli": ("proofs", "api", *FACES),
    "__main__": ("cli",),
}
"""Package of dbsafety → the packages it may import besides itself and the standard library."""

THIRD_PARTY = {
    "libcst": ("fix",),
    "sqlparse": ("facts",),
    "flake8": ("adapters",),
    "pylint": ("adapters",),
    "astroid": ("adapters",),
    "tomli": ("config",),
    "tomllib": ("config",),  # of the standard library only from 3.11 on
}
"""The only other distributions, and the packages that may import them."""

DRIVERS = {"sqlite3", "psycopg2", "psycopg", "psycopg_pool", "asyncpg", "aiosqlite", "django", "sqlalchemy"}
RULE_FILE_IMPORTS = {"__future__", "ast", "re", "collections", "dataclasses", "enum", "itertools", "typing"}
RULE_FILE_LAYERS = tuple(f"dbsafety.{package}." for package in ("rules", *RULES))
MAY_PRINT = ("dbsafety.cli", "dbsafety.output")
MAY_WRITE = ("dbsafety.fix.apply", "dbsafety.project.cache", "dbsafety.project.baseline", "dbsafety.cli.")
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}
LONGEST_FILE, LONGEST_FUNCTION, LONGEST_RULE_FILE = 350, 50, 180

LINTER = modules("dbsafety")
RUNTIME = modules("runtime/dbsafety_runtime", below="runtime")
OURS = (*LINTER, *RUNTIME, *modules("tests/harness"), *modules("demo"), *modules("docs"))


def package_of(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def is_rule_file(module: Module) -> bool:
    return module.name.startswith("dbsafety.rules.dbs")


def roots(module: Module) -> Iterator[tuple[str, Import]]:
    for item in module.imports():
        yield item.names[0].split(".")[0], item


def test_every_package_has_a_row_in_the_layer_table() -> None:
    assert {package_of(module.name) for module in LINTER} - set(LAYERS) == set()


def test_imports_run_down() -> None:
    climbing = [
        f"{name}:{line} imports {target}"
        for name, targets in internal_edges(LINTER).items()
        for target, line in targets
        if package_of(target) not in (package_of(name), "", *LAYERS[package_of(name)])
    ]
    assert climbing == []


def test_rule_files_stand_side_by_side() -> None:
    wrong = []
    for module in filter(is_rule_file, LINTER):
        for root, item in roots(module):
            target = item.names[-1] if len(item.names) > 1 else item.names[0]
            foreign = root != "dbsafety" and root not in RULE_FILE_IMPORTS
            climbing = root == "dbsafety" and not f"{target}.".startswith(RULE_FILE_LAYERS)
            sibling = target.startswith("dbsafety.rules.dbs") or target == "dbsafety.rules.registry"
            if foreign or climbing or sibling:
                wrong.append(f"{module.path}:{item.line} imports {target}")
    assert wrong == []


@pytest.mark.parametrize("tree", [LINTER, RUNTIME], ids=["dbsafety", "dbsafety_runtime"])
def test_there_is_no_import_cycle(tree: tuple[Module, ...]) -> None:
    assert cycle(internal_edges(tree)) == ()


def test_other_distributions_are_imported_only_where_the_table_says() -> None:
    wrong = []
    for module in LINTER:
        for root, item in roots(module):
            own = root == "dbsafety" or root in sys.stdlib_module_names
            if not own and package_of(module.name) not in THIRD_PARTY.get(root, ()):
                wrong.append(f"{module.path}:{item.line} imports {root}")
    assert wrong == []


def test_the_linter_imports_no_database_driver() -> None:
    assert [f"{m.path}:{item.line}" for m in LINTER for root, item in roots(m) if root in DRIVERS] == []


def test_linter_and_runtime_do_not_know_each_other() -> None:
    assert [f"{m.path}:{item.line}" for m in LINTER for root, item in roots(m) if root == "dbsafety_runtime"] == []
    assert [f"{m.path}:{item.line}" for m in RUNTIME for root, item in roots(m) if root == "dbsafety"] == []


def test_files_are_short() -> None:
    lengths = {module.path: module.text.count("\n") for module in OURS}
    assert {path: length for path, length in lengths.items() if length > LONGEST_FILE} == {}
    rule_files = {m.path: lengths[m.path] for m in LINTER if is_rule_file(m)}
    assert {path: length for path, length in rule_files.items() if length > LONGEST_RULE_FILE} == {}


def test_functions_are_short() -> None:
    long = [
        f"{module.path}:{function.lineno} {function.name}: {length} lines"
        for module in OURS
        for function in module.functions()
        if (length := (function.end_lineno or function.lineno) - function.lineno + 1) > LONGEST_FUNCTION
    ]
    assert long == []


def test_file_names_say_what_is_inside() -> None:
    assert [module.path for module in OURS if module.name.split(".")[-1] in VAGUE_NAMES] == []


def test_only_the_first_init_file_holds_anything() -> None:
    inits = {m.path: m.text for m in LINTER if m.path.endswith("__init__.py") and m.path != "dbsafety/__init__.py"}
    assert {path for path, text in inits.items() if text.strip()} == set()


def test_every_module_says_in_one_sentence_what_it_is_for() -> None:
    silent = [m.path for m in OURS if m.text.strip() and not ast.get_docstring(m.tree)]
    assert silent == []


def test_annotations_are_never_evaluated() -> None:
    future = "from __future__ import annotations"
    modules_with_code = [m for m in OURS if m.text.strip() and not m.path.endswith("__init__.py")]
    assert [m.path for m in modules_with_code if future not in m.text] == []


def test_only_the_faces_print() -> None:
    printing = [
        f"{module.path}:{node.lineno}"
        for module in LINTER
        if not module.name.startswith(MAY_PRINT)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert printing == []


def test_files_are_written_in_few_places() -> None:
    writing = [
        f"{module.path}:{node.lineno}"
        for module in LINTER
        if not module.name.startswith(MAY_WRITE)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and writes_a_file(node)
    ]
    assert writing == []


def writes_a_file(call: ast.Call) -> bool:
    match call:
        case ast.Call(func=ast.Attribute(attr="write_text" | "write_bytes" | "fdopen" | "mkstemp")):
            return True
        case ast.Call(func=ast.Attribute(value=ast.Name("os"), attr="replace" | "rename" | "remove" | "unlink")):
            return True
        case ast.Call(func=ast.Name("open"), args=[_, ast.Constant(str(mode)), *_]):
            return mode.strip("rbt+U") != "" or "+" in mode
        case ast.Call(func=ast.Attribute(attr="open"), args=[ast.Constant(str(mode)), *_]):
            return mode.strip("rbt") != ""
    return False


@pytest.mark.parametrize("handler", ["except Exception", "except BaseException"])
def test_broad_handlers_stand_only_where_a_crash_is_contained(handler: str) -> None:
    name = handler.split()[1]
    broad = [
        module.path
        for module in LINTER
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ExceptHandler) and isinstance(node.type, ast.Name) and node.type.id == name
    ]
    contained = {"check/module.py", "rules/run.py", "project/workers.py", "cli/main.py"}
    contained |= {"proofs/stage.py", "proofs/child.py"}  # what the code under demonstration raises is to be seen
    assert set(broad) <= {f"dbsafety/{name}" for name in contained}
