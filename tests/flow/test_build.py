"""Properties of the graph that the oracle does not see: kinds, enclosing constructs, limits."""

from __future__ import annotations

import ast

import pytest

from dbsafety.flow.build import build_cfg
from dbsafety.flow.graph import Cfg, EdgeKind, FunctionNode, Step, StepKind, Why


def cfg_of(source: str, budget: int = 20_000) -> Cfg:
    tree = ast.parse(source)
    function: FunctionNode = tree
    if isinstance(tree.body[0], ast.FunctionDef | ast.AsyncFunctionDef):
        function = tree.body[0]
    return build_cfg(function, lambda manager: "suppress" in ast.dump(manager), budget)


def of_kind(cfg: Cfg, kind: StepKind) -> list[Step]:
    return [step for step in cfg.steps if step.kind is kind]


def call(cfg: Cfg, text: str) -> Step:
    found = [s for s in of_kind(cfg, StepKind.CALL) if s.node is not None and ast.unparse(s.node) == text]
    assert len(found) == 1
    return found[0]


def kinds(source: str) -> list[str]:
    """The kinds of the steps between entry and ends, in order of their making."""
    return [step.kind.value for step in cfg_of(source).steps[3:]]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("x = 1", ["bind"]),
        ("x = y.z", ["op", "bind"]),
        ("x = f(y.z)", ["call", "bind"]),
        ("x.y = f()", ["call", "bind"]),
        ("x[f()] = 1", ["call", "op", "bind"]),
        ("x, y = f()", ["call", "op", "bind"]),
        ("x, y = y, x", ["bind"]),
        ("x: int", []),
        ("x: int = f()", ["call", "bind"]),
        ("x += 1", ["op", "bind"]),
        ("a.b.c().d.e(g)", ["call", "call"]),
        ("f(a.b, g(c[0]))", ["call", "call"]),
        ("f'{a.b} {g()!r:>{w()}}'", ["call", "call"]),
        ("x = a if b else c", ["bind"]),
        ("x = f() if b else c", ["test", "call", "bind"]),
        ("x = a or b", ["bind"]),
        ("x = a or f()", ["test", "call", "bind"]),
        ("x = a is None", ["bind"]),
        ("x = a == b", ["op", "bind"]),
        ("(x := f())", ["call", "bind"]),
        ("lambda x=f(): g()", ["call"]),
        ("{**a, f(): g()}", ["call", "call"]),
        ("[*a[f():g():2]]", ["call", "call", "op"]),
        ("import a, b", ["op", "bind"]),
        ("from a import b", ["op", "bind"]),
        ("del x, y.z", ["op", "unbind"]),
        ("raise", ["raise"]),
        ("raise E from f()", ["call", "raise"]),
        ("assert x, f()", ["test", "call", "raise"]),
        ("assert False", ["raise"]),
        ("assert True", []),
        ("global x", []),
        ("'text'", []),
        ("x", ["op"]),
        ("return f()", ["call", "return"]),
        ("yield", ["yield"]),
        ("yield from f()", ["call", "yield"]),
        ("@d\n def g(x=f()): h()", ["call", "op", "bind"]),
        ("class C(B):\n  x = f()", ["call", "bind", "op", "bind"]),
        ("with a as b: f()", ["with enter", "bind", "with exit", "call", "with exit"]),
        ("async with a: await f()", ["with enter", "with exit", "call", "await", "with exit"]),
        ("[f(x) for x in y]", ["for", "bind", "call"]),
        ("match x:\n  case 1: f()\n  case [y]: g()", ["case", "call", "case", "bind", "call"]),
        ("match x:\n  case {'k': 1, **rest}: pass\n  case _: f()", ["case", "bind", "case", "call"]),
    ],
)
def test_steps_of_a_statement(statement: str, expected: list[str]) -> None:
    assert kinds(f"async def f():\n {statement}\n") == expected


@pytest.mark.parametrize(
    "body",
    ["return\n g()", "raise E\n g()", "while True: pass\n g()", "if False: g()", "assert 0\n g()", "True or g()"],
)
def test_what_cannot_be_reached_has_no_steps(body: str) -> None:
    assert of_kind(cfg_of(f"def f():\n {body}\n"), StepKind.CALL) == []


def test_while_true_ends_by_break_alone() -> None:
    cfg = cfg_of("def f():\n while 1:\n  a()\n")
    assert of_kind(cfg, StepKind.TEST) == []
    assert [(edge.kind, edge.target) for edge in call(cfg, "a()").succ] == [(EdgeKind.BACK, 3)]


def test_enclosing_handlers_saved_exceptions_and_tries() -> None:
    source = """def f():
    try:
        try:
            a()
        except E:
            b()
            with suppress(E):
                c()
        finally:
            d()
    except F as e:
        g()
    h()
"""
    cfg = cfg_of(source)
    outer = cfg.function.body[0]
    assert isinstance(outer, ast.Try)
    inner = outer.body[0]
    assert isinstance(inner, ast.Try)
    handler_e, handler_f = of_kind(cfg, StepKind.HANDLER)
    raising = next(s for s in of_kind(cfg, StepKind.FINALLY) if s.why is Why.RAISE)
    assert call(cfg, "a()").tries == (outer, inner)
    assert call(cfg, "b()").tries == (outer,)
    assert call(cfg, "b()").handlers == call(cfg, "c()").handlers == (handler_e.index,)
    assert call(cfg, "g()").handlers == (handler_f.index,)
    assert handler_e.handlers == raising.saved == call(cfg, "h()").saved == ()
    copies = {s.why: s for s in of_kind(cfg, StepKind.RESUME)} | {s.why: s for s in of_kind(cfg, StepKind.FINALLY)}
    assert set(copies) == {Why.FALL, Why.RAISE}
    in_copies = [s for s in of_kind(cfg, StepKind.CALL) if s.line == 10]
    assert sorted(s.saved for s in in_copies) == [(), (raising.index,)]
    assert {s.tries for s in in_copies} == {(outer,)}
    leave = next(s for s in of_kind(cfg, StepKind.WITH_EXIT) if s.why is Why.RAISE)
    assert leave.exc == raising.index
    assert [edge.kind for edge in leave.succ] == [EdgeKind.SUPPRESSED]
    assert leave.handlers == (handler_e.index,)


def test_early_exits_end_their_handlers() -> None:
    cfg = cfg_of("def f():\n for x in y:\n  try: a()\n  except E as e:\n   if b(): return 1\n   break\n")
    ends = [
        (s.kind.value, s.why.value) for s in cfg.steps if s.kind in (StepKind.UNBIND, StepKind.HANDLER_END) and s.why
    ]
    assert ends == [
        ("unbind", "return"),
        ("handler end", "return"),
        ("unbind", "break"),
        ("handler end", "break"),
    ]


def test_all_returns_share_one_finally_copy() -> None:
    cfg = cfg_of("def f():\n try:\n  if a: return 1\n  if b: return 2\n  return 3\n finally:\n  c()\n")
    assert [step.why for step in of_kind(cfg, StepKind.FINALLY)] == [Why.RETURN]


def test_a_bare_except_leaves_no_way_past_the_handlers() -> None:
    dispatch = of_kind(cfg_of("def f():\n try: a()\n except E: pass\n except: pass\n"), StepKind.DISPATCH)[0]
    assert [(edge.kind, edge.label) for edge in dispatch.succ] == [(EdgeKind.MATCH, 0), (EdgeKind.MATCH, 1)]


def test_a_try_for_an_unknown_name_has_its_handler() -> None:
    cfg = cfg_of("try:\n text = unicode\nexcept NameError:\n text = f()\n")
    begin = of_kind(cfg, StepKind.TRY)[0]
    assert begin.exc == of_kind(cfg, StepKind.DISPATCH)[0].index
    assert call(cfg, "f()").handlers != ()


def test_a_try_in_which_nothing_can_fail_has_no_handler() -> None:
    assert kinds("def f():\n try:\n  x = 1\n except E:\n  f()\n") == ["try", "bind"]


def test_names_of_a_class_body_are_marked() -> None:
    cfg = cfg_of("class C:\n conn = f()\nconn = g()\n")
    owner = ast.parse("class C: pass").body[0]
    assert [type(step.arg) for step in of_kind(cfg, StepKind.BIND)] == [type(owner), type(None), type(None)]


@pytest.mark.parametrize(
    ("source", "generator", "is_async"),
    [
        ("def f():\n yield\n", True, False),
        ("def f():\n return\n yield\n", True, False),
        ("def f():\n try: pass\n except E: yield\n", True, False),
        ("def f():\n def g(): yield\n lambda: (yield)\n", False, False),
        ("def f():\n return\n def g(): yield\n", False, False),
        ("async def f(): pass\n", False, True),
        ("async def f(): yield\n", True, True),
    ],
)
def test_generators(source: str, generator: bool, is_async: bool) -> None:
    cfg = cfg_of(source)
    assert (cfg.is_generator, cfg.is_async) == (generator, is_async)


def test_a_lambda_returns_its_body() -> None:
    expression = ast.parse("lambda x: f(x)").body[0]
    assert isinstance(expression, ast.Expr)
    assert isinstance(expression.value, ast.Lambda)
    cfg = build_cfg(expression.value)
    assert [step.kind.value for step in cfg.steps[3:]] == ["call", "return"]
    assert call(cfg, "f(x)").exc == cfg.raise_end


def sum_of(terms: int) -> ast.FunctionDef:
    """`x = y + f() + f() + …`, made by hand because no parser takes so deep a tree."""
    term: ast.expr = ast.Name("y", ast.Load())
    for _ in range(terms):
        term = ast.BinOp(term, ast.Add(), ast.Call(ast.Name("f", ast.Load()), [], []))
    return function_with(ast.Assign([ast.Name("x", ast.Store())], term))


def chain_of(branches: int) -> ast.FunctionDef:
    """`if x: f()` and as many `elif x: f()`."""
    orelse: list[ast.stmt] = []
    for _ in range(branches):
        then = ast.Expr(ast.Call(ast.Name("f", ast.Load()), [], []))
        orelse = [ast.If(ast.Name("x", ast.Load()), [then], orelse)]
    return function_with(*orelse)


def nested_calls(depth: int) -> ast.FunctionDef:
    """`f(f(f(…)))`."""
    node: ast.expr = ast.Name("x", ast.Load())
    for _ in range(depth):
        node = ast.Call(ast.Name("f", ast.Load()), [node], [])
    return function_with(ast.Expr(node))


def function_with(*body: ast.stmt) -> ast.FunctionDef:
    function = ast.parse("def f(): pass\n").body[0]
    assert isinstance(function, ast.FunctionDef)
    function.body = list(body)
    return function


def test_long_sums_are_no_recursion() -> None:
    cfg = build_cfg(sum_of(5_000))
    assert not cfg.truncated
    assert len(of_kind(cfg, StepKind.CALL)) == 5_000


def test_long_elif_chains_are_no_recursion() -> None:
    cfg = build_cfg(chain_of(5_000))
    assert not cfg.truncated
    assert len(of_kind(cfg, StepKind.TEST)) == 5_000


@pytest.mark.parametrize(
    "function",
    [
        nested_calls(100_000),
        sum_of(30_000),
        ast.parse(
            "def f():\n" + "".join(f"{' ' * n}try: a()\n{' ' * n}finally:\n" for n in range(1, 7)) + "       b()\n"
        ).body[0],
    ],
    ids=["too deep", "too many steps", "finally in finally in finally ..."],
)
def test_what_is_too_large_is_given_up(function: ast.stmt) -> None:
    assert isinstance(function, ast.FunctionDef)
    cfg = build_cfg(function)
    assert cfg.truncated
    assert [step.kind for step in cfg.steps] == [StepKind.ENTRY, StepKind.RETURN_END, StepKind.RAISE_END]


def test_deep_but_sensible_nesting_is_built() -> None:
    cfg = build_cfg(nested_calls(100))
    assert not cfg.truncated
    assert len(of_kind(cfg, StepKind.CALL)) == 100
