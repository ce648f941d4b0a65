"""`dbsafety debug`: the graph, the states, the summary and the receivers of a function, as the analysis sees them."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from dbsafety.check.options import rule_options
from dbsafety.check.paths import shown
from dbsafety.check.session import Session
from dbsafety.cli.console import PROGRAM, say
from dbsafety.cli.options import add_settings, arguments
from dbsafety.config.select import did_you_mean
from dbsafety.flow.draw import draw
from dbsafety.model.faults import SourceFault, UsageFault
from dbsafety.project.files import read
from dbsafety.rules.run import deep_recursion, view_of
from dbsafety.typestate import describe
from dbsafety.typestate.reasons import receivers
from dbsafety.typestate.relation import Subject
from dbsafety.views.view import FunctionView, ModuleView

_NOTHING = "  no connection and no receiver of a call is known here\n"
_OTHER_SETTINGS = (
    "select",
    "extend-select",
    "ignore",
    "min-confidence",
    "exclude",
    "extend-exclude",
    "force-exclude",
    "output-format",
)


def add(to: argparse.ArgumentParser) -> None:
    """Show how the analysis sees a function: its graph, states, summary, receivers."""
    to.add_argument(
        "what",
        choices=tuple(_SHOW),
        metavar="WHAT",
        help="cfg: the control flow graph; states: of each connection before each step; summary: how each connection "
        "is left; resolve: what each receiver of a call is, or why nothing is known of it",
    )
    to.add_argument(
        "target",
        metavar="FILE[:FUNCTION]",
        help="function by qualified name or the last part of it, <module> for the module's body; "
        "default: the functions that have handlers",
    )
    add_settings(to, *_OTHER_SETTINGS)


def command(found: argparse.Namespace) -> int:
    """Print what was asked for. Raises UsageFault, ConfigFault, UnreadableFault and SourceFault."""
    file, name = split(found.target)
    given = arguments(argparse.Namespace(**vars(found), paths=[file], stdin_filename="", quiet=False, color="never"))
    path = shown(file)
    with deep_recursion():
        view = _view(path, Session.of(given.configuration, [path]))
        chosen = chosen_functions(view, name)
        if not chosen:
            say(f"{PROGRAM}: note: {path}: no function has handlers; name one as in {path}:{describe.BODY}")
        show = _SHOW[found.what]
        try:
            text = "\n".join(_heading(function) + ("".join(show(function)) or _NOTHING) for function in chosen)
        except RecursionError as error:
            raise SourceFault("the code is nested too deeply to follow", path) from error
    sys.stdout.write(text)
    return 0


def split(target: str) -> tuple[str, str]:
    """File and function of `FILE[:FUNCTION]`, the function "" for all. Raises UsageFault when there is no such file."""
    if Path(target).is_file():
        return target, ""
    for mark in re.finditer(":", target):
        file = target[: mark.start()]
        if Path(file).is_file():
            return file, target[mark.end() :]
    file = re.sub(r":[^/\\]*$", "", target) or target
    raise UsageFault("is a folder; name a file" if file and Path(file).is_dir() else "no such file", file)


def chosen_functions(view: ModuleView, name: str) -> Sequence[FunctionView]:
    """The functions that `name` means; those with handlers for "". Raises UsageFault when there is none of the name."""
    if not name:
        return [function for function in view.functions if function.info.has_handlers]
    named = [(describe.name_of(function.info), function) for function in view.functions]
    exact = [function for known, function in named if known == name]
    if found := exact or [function for known, function in named if known.endswith(f".{name}")]:
        return found
    words = {word for known, _ in named for word in (known, known.rpartition(".")[2])}
    raise UsageFault(f"no function is called {name!r}{did_you_mean(name, words)}", view.path)


def _view(path: str, session: Session) -> ModuleView:
    """The module as `check` sees it."""
    module = session.trees.parse(read(path), path)
    try:
        return view_of(module, session.frames, rule_options(session.settings))
    except RecursionError as error:
        raise SourceFault("the code is nested too deeply to follow", path) from error


def _heading(function: FunctionView) -> str:
    line = getattr(function.info.node, "lineno", 1)
    return f"{function.path}:{line} {describe.name_of(function.info)}\n"


def _cfg(function: FunctionView) -> Iterator[str]:
    yield draw(function.cfg)


def _states(function: FunctionView) -> Iterator[str]:
    for subject in _subjects(function):
        yield f"  {describe.subject_words(subject, function.path)}\n"
        yield describe.states(function.follow(subject.handle, subject.key))


def _summary(function: FunctionView) -> Iterator[str]:
    for subject in _subjects(function):
        yield f"  {describe.subject_words(subject, function.path)}\n"
        yield describe.summary(function.module.summaries, function.info, subject)


def _subjects(function: FunctionView) -> Sequence[Subject]:
    """The connections that the function, or what it calls, works on."""
    touched = function.module.summaries.touched(function.info)
    return [Subject(key, handle) for key, handle in sorted(touched.items())]


def _resolve(function: FunctionView) -> Iterator[str]:
    rows = [(_lines(lines), code, told) for lines, code, told in receivers(function.frame)]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(2)]
    for lines, code, told in rows:
        yield f"  {lines:{widths[0]}}  {code:{widths[1]}}  {told}\n"


def _lines(lines: Sequence[int]) -> str:
    few = ", ".join(map(str, lines[:4]))
    return f"{few}, ..." if len(lines) > 4 else few


_SHOW: Mapping[str, Callable[[FunctionView], Iterator[str]]] = {
    "cfg": _cfg,
    "states": _states,
    "summary": _summary,
    "resolve": _resolve,
}
