"""The interpreter as an oracle: which probe follows which, with which outcome, in every run of a function."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

Triple = tuple[str, str, str]
"""A probe (or "entry"), its outcome (or ""), and the probe or end ("return", "raise") that comes next."""

OUTCOMES = ("true", "false", "E1", "E2", "Crash")
GROUP = "group"


class E1(Exception):
    pass


class E2(Exception):
    pass


class Missing(Exception):
    pass


class Crash(BaseException):
    pass


class Enough(BaseException):
    """The script is at its end: whatever happens now is not recorded."""


class Run:
    """One execution under one script: the outcomes of the probes in the order of their execution."""

    def __init__(self, script: tuple[str, ...]) -> None:
        self.script = script
        self.position = 0
        self.last = ("entry", "")
        self.triples: set[Triple] = set()

    @property
    def over(self) -> bool:
        return self.position > len(self.script)

    def reach(self, name: str) -> None:
        """Note that `name` comes next."""
        if not self.over:
            self.triples.add((*self.last, name))

    def outcome(self, probe: int) -> str:
        """Reach a probe and take its outcome from the script; raises Enough behind the end of the script."""
        self.reach(str(probe))
        self.position += 1
        if self.over:
            raise Enough
        outcome = self.script[self.position - 1]
        self.last = (str(probe), outcome)
        return outcome

    def probe(self, probe: int) -> bool:
        outcome = self.outcome(probe)
        if outcome in ("true", "false"):
            return outcome == "true"
        raise exception(outcome)


def exception(outcome: str) -> BaseException:
    if outcome == GROUP:
        group: type[Exception] = vars(builtins)["ExceptionGroup"]
        return group(GROUP, [E1(), E2()])
    return {"E1": E1, "E2": E2, "Crash": Crash}[outcome]()


class Manager:
    """A context manager, both kinds; it suppresses if it `swallows` and its exit comes out true."""

    def __init__(self, run: Run, enter: int, leave: int, swallows: bool) -> None:
        self.run, self.enter, self.leave, self.swallows = run, enter, leave, swallows

    def __enter__(self) -> None:
        self.run.probe(self.enter)

    def __exit__(self, *_: object) -> bool:
        return self.run.probe(self.leave) and self.swallows

    async def __aenter__(self) -> None:
        self.run.probe(self.enter)

    async def __aexit__(self, *_: object) -> bool:
        return self.run.probe(self.leave) and self.swallows


class Turns:
    """An iterator, both kinds, that goes on while its probe comes out true."""

    def __init__(self, run: Run, probe: int) -> None:
        self.run, self.number = run, probe

    def __iter__(self) -> Turns:
        return self

    def __next__(self) -> int:
        if self.run.probe(self.number):
            return 0
        raise StopIteration

    def __aiter__(self) -> Turns:
        return self

    async def __anext__(self) -> int:
        if self.run.probe(self.number):
            return 0
        raise StopAsyncIteration


def environment(run: Run) -> dict[str, Any]:
    """The names the constructs use."""

    @contextmanager
    def swallowing(enter: int) -> Iterator[None]:
        run.probe(enter)
        with suppress(E1):
            yield

    async def ap(probe: int) -> bool:
        return run.probe(probe)

    managers = {name: partial(Manager, run, swallows=False) for name in ("cm", "acm")}
    suppressing = {name: partial(Manager, run, swallows=True) for name in ("swallow", "stack")}
    turns = {name: partial(Turns, run) for name in ("turns", "aturns")}
    makers = {
        "deco": lambda _: lambda function: function,
        "base": lambda _: object,
        "meta": lambda _: type,
        "items": lambda _: (0, 1),
    }
    errors = {error.__name__: error for error in (E1, E2, Missing, Crash)}
    probes = {"p": run.probe, "ap": ap, "swallowing": swallowing, "suppress": suppress}
    return {**managers, **suppressing, **turns, **makers, **errors, **probes}


def drive(run: Run, function: Callable[[], Any], is_async: bool) -> None:
    """Run the function to its end; a generator gets what the script says at each yield."""
    result = function()
    if is_async:
        with suppress(StopIteration):
            result.send(None)
    elif hasattr(result, "throw"):
        with suppress(StopIteration):
            drive_generator(run, result)


def drive_generator(run: Run, generator: Any) -> None:
    resume, argument = generator.send, None
    while True:
        probe = resume(argument)
        try:
            resume, argument = generator.send, run.probe(probe)
        except (E1, E2, Crash, Enough) as error:
            resume, argument = generator.throw, error


def observe(source: str, length: int, outcomes: tuple[str, ...] = OUTCOMES) -> set[Triple]:
    """The triples of all runs of the function `f` in `source` under all scripts of up to `length` outcomes."""
    code = compile(source, "<construct>", "exec")
    is_async = isinstance(ast.parse(source).body[0], ast.AsyncFunctionDef)
    triples: set[Triple] = set()
    scripts: list[tuple[str, ...]] = [()]
    while scripts:
        script = scripts.pop()
        run = Run(script)
        names = environment(run)
        exec(code, names)
        end = "return"
        try:
            drive(run, names["f"], is_async)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit | NameError):
                raise
            end = "raise"
        run.reach(end)
        triples |= run.triples
        if run.over and len(script) < length:
            scripts += [(*script, outcome) for outcome in outcomes]
    return triples
