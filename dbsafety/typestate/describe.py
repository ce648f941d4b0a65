"""What the analysis knows of a function in readable words: its connections, their states at each step, its summary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dbsafety.drivers.spec import HandleKind
from dbsafety.facts.scopes import FunctionInfo
from dbsafety.flow.draw import title
from dbsafety.flow.graph import Cfg, Step
from dbsafety.model.finding import Confidence
from dbsafety.typestate.automaton import Raised, State, Tx, idle
from dbsafety.typestate.relation import Exit, Relation, Start, Subject
from dbsafety.typestate.report import entry_state
from dbsafety.typestate.search import Search
from dbsafety.typestate.summaries import Summaries
from dbsafety.typestate.values import Handle, Key, Mode

BODY = "<module>"
"""How the body of a module is named where a function is expected."""
WIDTH = 64
"""Longest title of a step that the column of states is aligned to."""

_MODES = {
    Mode.TRANSACTION: "in transactions",
    Mode.AUTOCOMMIT: "autocommit",
    Mode.UNKNOWN: "mode unknown, taken for autocommit",
}
_SURE = {
    Confidence.HIGH: "high confidence",
    Confidence.MEDIUM: "medium confidence: by another module, or by how it is used",
    Confidence.LOW: "low confidence: by its name",
}
_OWN = (HandleKind.CONNECTION, HandleKind.POOL, HandleKind.FACTORY)
_FLIGHT = {Raised.DB: "driver error", Raised.OTHER: "other exception", Raised.BASE: "beyond Exception"}
_EXITS = {
    Exit.NORMAL: "ends",
    Exit.TRUE: "returns true, which swallows",
    Exit.YIELD: "yields",
    Exit.DB: "driver error",
    Exit.OTHER: "other exception",
    Exit.BASE: "beyond Exception",
    Exit.SEEN_STATEMENT: "sends a statement on it",
    Exit.SEEN_COMMIT: "commits it",
}
_STARTS = {
    Start.ENTRY: "called",
    Start.RESUME: "resumed after its yield",
    Start.THROW_DB: "driver error thrown in at its yield",
    Start.THROW_OTHER: "other exception thrown in at its yield",
    Start.THROW_BASE: "exception beyond Exception thrown in at its yield",
    Start.EXIT_OK: "left without an exception",
    Start.EXIT_RAISED: "left with an exception",
}


def name_of(function: FunctionInfo) -> str:
    """The qualified name of a function; `<module>` for the body of a module."""
    return function.qualname or BODY


def key_words(key: Key, path: str) -> str:
    """Which connection a key means, for a reader of the file `path`; other files are named."""
    if key.kind in ("global", "site"):
        file = "" if key.owner == path else f" in {key.owner}"
        if key.kind == "global":
            return f"variable `{key.name}` of the module{file}"
        return f"opened in line {key.name.partition(':')[0]}{file}, held by no name"
    owner = owner_words(key.owner, path)
    return {
        "local": f"variable `{key.name}` of {owner}",
        "param": f"parameter `{key.name}` of {owner}",
        "attr": f"attribute `{key.name}` of {owner}",
    }.get(key.kind, f"`{key.name}` of {owner}, from an unknown origin")


def owner_words(owner: str, path: str) -> str:
    """A function or class, named by `file:qualified name`, for a reader of the file `path`."""
    if owner.startswith(f"{path}:"):
        return owner[len(path) + 1 :] or BODY
    file, mark, name = owner.partition(".py:")
    return f"{name} in {file}.py" if mark else owner


def handle_words(handle: Handle, path: str) -> str:
    """What a handle is: driver, kind, key of its connection, mode, confidence."""
    kind = handle.kind.value
    behind = "" if handle.kind in _OWN else " of the connection"
    return _known(f"{handle.driver} {kind}{behind}", handle, path)


def subject_words(subject: Subject, path: str) -> str:
    """Which connection is followed."""
    return _known(f"{subject.handle.driver} connection", subject.handle.moved(subject.key), path)


def _known(what: str, handle: Handle, path: str) -> str:
    pool = ["from a pool"] if handle.pooled else []
    return "; ".join([f"{what}: {key_words(handle.key, path)}", *pool, _MODES[handle.mode], _SURE[handle.confidence]])


def state_words(state: State, steps: Sequence[Step]) -> str:
    """A state; `steps` are those of the function whose handlers it names."""
    words = [state.tx.value]
    if state.dirty:
        words.append("dirty")
    if state.auto and state.tx is not Tx.UNBOUND:
        words.append("autocommit")
    if state.tx is Tx.FAILED:
        words.append(_caught(state, steps))
    return " ".join(word for word in words if word)


def _caught(state: State, steps: Sequence[Step]) -> str:
    by = {-1: "", -2: "caught in a called function", -3: "before the call"}.get(state.by, "")
    if state.by >= 0:
        by = f"caught in line {steps[state.by].line}"
    parts = [by, "left" if state.left and state.by != -2 else ""]
    text = ", ".join(part for part in parts if part)
    return f"({text})" if text else ""


def _several(states: Iterable[State], steps: Sequence[Step]) -> str:
    order = list(Tx)
    ranked = sorted(set(states), key=lambda state: (order.index(state.tx), *state[1:]))
    return " | ".join(dict.fromkeys(state_words(state, steps) for state in ranked))


def states(search: Search) -> str:
    """The states that the connection of a finished search may be in before each step, with what is in flight.

    The search of a generator ends at its yields, since what comes between is its caller's.
    """
    if search.over_budget:
        return "    unknown: a budget of the analysis was used up\n"
    reached: dict[int, dict[Raised | None, set[State]]] = {}
    for node in search.parents:
        reached.setdefault(node.step, {}).setdefault(node.flight, set()).add(node.state)
    titles = [title(step) for step in search.steps]
    width = min(max(map(len, titles)), WIDTH)
    missing = "not reached before a yield" if search.frame.cfg.is_generator else "never reached"
    return "".join(
        f"  {text:{width}}  {_row(reached.get(step.index, {}), search.steps) or missing}\n"
        for step, text in zip(search.steps, titles, strict=True)
    )


def _row(found: Mapping[Raised | None, set[State]], steps: Sequence[Step]) -> str:
    kinds: tuple[Raised | None, ...] = (None, *Raised)
    cells = [(kind, _several(found[kind], steps)) for kind in kinds if kind in found]
    return "; ".join(f"{_FLIGHT[kind]}: {text}" if kind else text for kind, text in cells)


def summary(summaries: Summaries, function: FunctionInfo, subject: Subject) -> str:
    """The state relation of a function for one connection: entry state → ways out with their states."""
    cfg = summaries.frame(function).cfg
    rows = [("started", "with it", "way out", "leaves it")]
    for start in _starts(function, cfg):
        for state in _entries(function, subject, start):
            relation = summaries.relation(function, subject, start, state)
            before = (_STARTS[start], state_words(state._replace(by=-1), ()))
            for way, text in _ways(relation, cfg.steps) or [("unknown", "no way out, or a budget was used up")]:
                rows.append((*before, way, text))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    shown = []
    for above, row in zip([("",) * 4, *rows], rows, strict=False):
        same = ["" if row[: n + 1] == above[: n + 1] else row[n] for n in range(2)]
        cells = (*same, row[2])
        shown.append(
            "    " + "  ".join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True)) + f"  {row[3]}"
        )
    return "\n".join(shown) + "\n"


def _ways(relation: Relation, steps: Sequence[Step]) -> list[tuple[str, str]]:
    found = [(way, [state for out, state in relation if out is way]) for way in _EXITS]
    return [(_EXITS[way], _several(states, steps)) for way, states in found if states]


def _starts(function: FunctionInfo, cfg: Cfg) -> tuple[Start, ...]:
    if cfg.is_generator:
        return (Start.ENTRY, Start.RESUME, Start.THROW_DB, Start.THROW_OTHER, Start.THROW_BASE)
    if function.cls is not None and function.qualname.rpartition(".")[2] in ("__exit__", "__aexit__"):
        return (Start.EXIT_OK, Start.EXIT_RAISED)
    return (Start.ENTRY,)


def _entries(function: FunctionInfo, subject: Subject, start: Start) -> tuple[State, ...]:
    """Idle, open, failed and unbound; only the last for a variable of the function that begins."""
    if start is Start.ENTRY and entry_state(function, subject).tx is Tx.UNBOUND:
        return (State(Tx.UNBOUND),)
    fresh = idle(subject.handle.mode)
    return (fresh, fresh._replace(tx=Tx.OPEN), fresh._replace(tx=Tx.FAILED, by=-3), State(Tx.UNBOUND))
