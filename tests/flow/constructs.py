"""The constructs whose control flow is compared with the running interpreter.

Probes, each with a number: `p(n)` is a call, `yield n` a yield, `await ap(n)` an await, `turns(n)` asks for the next
item of a loop, `cm(n, m)` and `acm(n, m)` are managers (n: enter, m: exit), `swallow(n, m)` one that suppresses when m
comes out true. A probe comes out true or false, or raises E1, E2 (Exceptions) or Crash (a BaseException).
"""

from __future__ import annotations

CONSTRUCTS: dict[str, str] = {
    "try_except_else_finally": """
def f():
    try:
        p(1)
    except E1 as e:
        p(2)
    except (E2, Missing):
        p(3)
    else:
        p(4)
    finally:
        p(5)
    p(6)
""",
    "return_through_finally": """
def f():
    try:
        if p(1):
            return p(2)
        p(3)
    finally:
        p(4)
    p(5)
""",
    "break_continue_through_finallies": """
def f():
    while p(1):
        try:
            try:
                if p(2):
                    break
                if p(3):
                    continue
            finally:
                p(4)
        finally:
            p(5)
    p(6)
""",
    "return_in_finally": """
def f():
    try:
        p(1)
    finally:
        if p(2):
            return p(3)
    p(4)
""",
    "break_in_finally": """
def f():
    for x in turns(1):
        try:
            p(2)
            continue
        finally:
            if p(3):
                break
        p(4)
    p(5)
""",
    "loops_with_else": """
def f():
    for x in turns(1):
        if p(2):
            break
    else:
        p(3)
    while p(4):
        if p(5):
            continue
        if not p(6):
            break
    else:
        p(7)
    p(8)
""",
    "nested_handlers_reraise": """
def f():
    try:
        try:
            p(1)
        except E1 as e:
            try:
                p(2)
            except E2:
                raise
            raise
        except E2 as e:
            raise E1() from e
    except E1:
        p(3)
    p(4)
""",
    "handler_raises_to_outer": """
def f():
    try:
        try:
            p(1)
        except Exception:
            p(2)
        finally:
            p(3)
    except E2:
        p(4)
""",
    "suppress": """
def f():
    with swallow(1, 2):
        p(3)
        if p(4):
            return p(5)
    p(6)
""",
    "contextlib_suppress": """
def f():
    with suppress(E1):
        p(1)
        return p(2)
    p(3)
""",
    "two_items": """
def f():
    for x in turns(1):
        with cm(2, 3) as a, swallow(4, 5) as b:
            if p(6):
                break
            p(7)
    p(8)
""",
    "bare_except": """
def f():
    while p(1):
        try:
            p(2)
        except E1:
            break
        except:
            if p(3):
                continue
            raise
        p(4)
""",
    "boolean_operators": """
def f():
    x = p(1) and (p(2) or p(3)) or not p(4)
    if (p(5) if p(6) else p(7)) and not (p(8) or x):
        p(9)
    return p(10)
""",
    "match_with_guards": """
def f():
    match p(1):
        case True if p(2):
            p(3)
        case False:
            return p(4)
        case other if not p(5):
            p(6)
        case _:
            p(7)
    p(8)
""",
    "generator_with_throw": """
def f():
    p(1)
    try:
        x = yield 2
        if x:
            yield 3
    except E1:
        yield 4
    finally:
        p(5)
    p(6)
""",
    "yield_in_finally": """
def f():
    try:
        yield 1
    finally:
        if (yield 2):
            return
        p(3)
    p(4)
""",
    "async_with_and_for": """
async def f():
    async with acm(1, 2) as a:
        async for x in aturns(3):
            if await ap(4):
                return p(5)
            await ap(6)
        else:
            p(7)
    p(8)
""",
    "while_true": """
def f():
    while True:
        p(1)
        try:
            if p(2):
                return p(3)
        except E2:
            p(4)
        else:
            break
    p(5)
""",
    "finally_in_finally": """
def f():
    try:
        if p(1):
            return
        p(2)
    finally:
        try:
            p(3)
        except E1:
            p(4)
        finally:
            p(5)
    p(6)
""",
    "nested_definitions": """
def f():
    @deco(p(1))
    def g(x=p(2), *, y=p(3)):
        p(99)
    h = lambda x=p(4): p(97)
    p(5)
""",
    "nested_class": """
def f():
    class C(base(p(1)), metaclass=meta(p(2))):
        p(3)
        def m(self):
            p(98)
        x = [p(5) for x in items(p(4)) if p(6)]
    p(7)
""",
    "nested_comprehension": """
def f():
    y = {p(1): p(2) for a in turns(3) for b in turns(4) if p(5) if not p(6)}
    return p(7)
""",
    "exit_stack": """
def f():
    with stack(1, 2):
        try:
            p(3)
        except E1:
            return p(4)
    with cm(5, 6):
        p(7)
    p(8)
""",
    "swallowing_contextmanager": """
def f():
    while p(1):
        with swallowing(2):
            if p(3):
                continue
            p(4)
        p(5)
""",
    "assert_and_walrus": """
def f():
    assert p(1), p(2)
    if (x := p(3)) and x is not p(4):
        p(5)
    while (y := p(6)):
        assert p(7)
    p(8)
""",
    "delegating_generator": """
def f():
    for x in turns(1):
        try:
            y = yield 2
        except Exception as e:
            if p(3):
                raise
            continue
        except Crash:
            return p(4)
        if y:
            break
    else:
        yield 5
    p(6)
""",
    "chained_comparison": """
def f():
    if p(1) < p(2) <= p(3):
        p(4)
    x = p(5) == p(6) != p(7)
    p(8)
""",
}

GROUPS: dict[str, str] = {
    "except_star": """
def f():
    try:
        p(1)
    except* E1 as e:
        p(2)
    except* E2:
        p(3)
    else:
        p(4)
    finally:
        p(5)
    p(6)
""",
    "except_star_in_try": """
def f():
    try:
        try:
            p(1)
        except* (E1, E2) as e:
            if p(2):
                raise
        p(3)
    except* E2:
        p(4)
    p(5)
""",
}
"""Need Python 3.11."""
