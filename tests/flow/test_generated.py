"""Generated functions: whatever the interpreter does in them, their graph contains."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.flow.oracle import observe
from tests.flow.walk import Walk, graph

DEPTH, LENGTH = 3, 5
HANDLERS = (
    "except E1:",
    "except E2 as e:",
    "except (E1, E2):",
    "except Exception as e:",
    "except BaseException:",
    "except:",
)
Draw = Callable[[st.SearchStrategy[object]], object]


class Writer:
    """Writes a random function whose loops cannot run for ever once the script of outcomes is at its end."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.probes = 0

    def pick(self, *choices: str) -> str:
        return str(self.draw(st.sampled_from(choices)))

    def probe(self, form: str = "p({})") -> str:
        self.probes += 1
        return form.format(self.probes)

    def condition(self) -> str:
        form = self.pick("{}", "{}", "not {}", "{} and {}", "{} or not {}", "({} if {} else {})", "(x := {})")
        return form.format(*(self.probe() for _ in range(form.count("{}"))))

    def block(self, depth: int, loop: bool, handler: bool) -> list[str]:
        lines: list[str] = []
        for _ in range(int(self.pick("1", "1", "2"))):
            lines += self.statement(depth, loop, handler)
        return ["    " + line for line in lines]

    def statement(self, depth: int, loop: bool, handler: bool) -> list[str]:
        simple = ["probe", "probe", "return", "raise", "yield", "assert"]
        simple += ["break", "continue"] * loop + ["reraise"] * handler
        kind = self.pick(*simple, *(["if", "while", "for", "with", "try", "try", "try"] * 2 if depth else []))
        match kind:
            case "probe":
                return [self.probe()]
            case "yield":
                return [f"x = {self.probe('(yield {})')}"]
            case "return":
                return [f"return {self.condition()}"]
            case "raise":
                return ["raise E1()"]
            case "assert":
                return [f"assert {self.condition()}"]
            case "reraise":
                return ["raise"]
            case "break" | "continue":
                return [kind]
        return self.compound(kind, depth - 1, loop, handler)

    def compound(self, kind: str, depth: int, loop: bool, handler: bool) -> list[str]:
        match kind:
            case "if":
                head = f"if {self.condition()}:"
                lines = [head, *self.block(depth, loop, handler)]
                return lines + self.maybe("else:", lambda: self.block(depth, loop, handler))
            case "while" | "for":
                head = f"while {self.probe()}:" if kind == "while" else f"for x in {self.probe('turns({})')}:"
                lines = [head, *self.block(depth, True, handler)]
                return lines + self.maybe("else:", lambda: self.block(depth, loop, handler))
            case "with":
                form = self.pick("cm({}, {})", "swallow({}, {})", "suppress(E1)", "cm({}, {}) as x, swallow({}, {})")
                managers = form.format(*(self.probe("{}") for _ in range(form.count("{}"))))
                return [f"with {managers}:", *self.block(depth, loop, handler)]
        return self.protected(depth, loop, handler)

    def protected(self, depth: int, loop: bool, handler: bool) -> list[str]:
        lines = ["try:", *self.block(depth, loop, handler)]
        count = int(self.pick("0", "1", "2"))
        for position in range(count):
            lines.append(self.pick(*(HANDLERS if position == count - 1 else HANDLERS[:-1])))
            lines += self.block(depth, loop, True)
        if count:
            lines += self.maybe("else:", lambda: self.block(depth, loop, handler))
        if not count or self.pick("no", "yes") == "yes":
            lines += ["finally:", *self.block(depth, loop, handler)]
        return lines

    def maybe(self, head: str, block: Callable[[], list[str]]) -> list[str]:
        return [head, *block()] if self.pick("no", "yes") == "yes" else []


@st.composite
def functions(draw: Draw) -> str:
    writer = Writer(draw)
    body = writer.block(DEPTH, loop=False, handler=False)
    return "\n".join(["def f():", *body, "    " + writer.probe(), ""])


@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(functions())
def test_no_observed_successor_is_missing(source: str) -> None:
    cfg = graph(source)
    assert not cfg.truncated
    assert observe(source, LENGTH) - Walk(cfg).triples == set()
