"""What a driver table says, in sentences: the rows of the drivers page."""

from __future__ import annotations

from collections.abc import Iterator

from dbsafety.drivers.spec import AutocommitSwitch, DriverSpec, Effect, HandleKind, HandleSpec, Switch, WithSpec

_AFTER_BLOCK = {
    Effect.CLOSE: "ends without a commit",
    Effect.COMMIT: "commits",
    Effect.NEUTRAL: "leaves the transaction alone",
    Effect.RELEASE: "gives the connection back, which rolls back",
    Effect.ROLLBACK: "rolls back",
}


def answers(spec: DriverSpec) -> Iterator[tuple[str, str]]:
    """Questions about a driver and what its table answers, as Markdown."""
    yield "Made by", ", ".join(f"`{name}()`" for name in sorted(spec.constructors))
    if spec.objects or spec.containers:
        yield "Ready-made", ", ".join(f"`{name}`" for name in sorted([*spec.objects, *spec.containers]))
    yield "After a failed statement", _after_failure(spec)
    if spec.aborted_error:
        yield "The next statement says", f"`{spec.aborted_error}`"
    if spec.locked_error:
        yield "Other connections are told", f"`{spec.locked_error}`"
    yield "Does a SELECT open a transaction", "yes" if spec.begins_on_read else "no"
    yield "Autocommit is switched on by", _autocommit(spec)
    for kind in (HandleKind.CONNECTION, HandleKind.CURSOR, HandleKind.TRANSACTION, HandleKind.POOL):
        handle = spec.handles.get(kind)
        if handle is not None and handle.with_block is not None:
            yield f"Leaving `with {kind.value}`", block(handle.with_block, handle)
    yield "Errors that every handler for a statement must admit", f"`{spec.base_error}`"
    if spec.status_attributes:
        yield "The state of the transaction is told by", ", ".join(f"`{path}`" for path in spec.status_attributes)


def method_lines(spec: DriverSpec) -> Iterator[str]:
    """A line for each kind of handle: its methods by what they do."""
    for kind, handle in spec.handles.items():
        groups: dict[Effect, list[str]] = {}
        for name, method in sorted(handle.methods.items()):
            groups.setdefault(method.effect, []).append(f"`{name}`")
        silent = groups.pop(Effect.NEUTRAL, [])
        told = [
            f"{', '.join(names)} ({effect.value})" for effect, names in sorted(groups.items(), key=lambda g: g[0].value)
        ]
        if silent:
            told.append(f"{len(silent)} that do nothing to a transaction")
        if told:
            yield f"Methods of a {kind.value}: {'; '.join(told)}."


def block(leaving: WithSpec, handle: HandleSpec) -> str:
    """What leaving a block does, in one phrase."""
    normal, failing = _AFTER_BLOCK[leaving.success], _AFTER_BLOCK[leaving.error]
    what = normal if normal == failing else f"{normal}, on an exception {failing}"
    if handle.kind is HandleKind.TRANSACTION:
        return what
    if leaving.closes:
        return f"{what}; closes the {handle.kind.value}"
    return f"{what}; does not close the {handle.kind.value}"


def _after_failure(spec: DriverSpec) -> str:
    if spec.aborts:
        return "the transaction is aborted: every statement fails until it ends, and a commit stores nothing"
    if spec.keeps_lock:
        return "the transaction stays open with its lock; a later commit stores what came before"
    return "the transaction goes on"


def _autocommit(spec: DriverSpec) -> str:
    ways = [_way(switch) for switch in spec.autocommit]
    if spec.default_autocommit:
        return ", ".join(["nothing: it is on unless a transaction is opened", *ways])
    return ", ".join(ways)


def _way(switch: AutocommitSwitch) -> str:
    first = switch.on[0]
    value = next((v for v in switch.on if isinstance(v, str) and "." in v), repr(first)).rpartition(".")[2]
    match switch.by:
        case Switch.ATTRIBUTE:
            return f"`connection.{switch.name} = {value}`"
        case Switch.KEYWORD:
            return f"the argument `{switch.name}={value}`"
        case Switch.METHOD:
            given = f"{switch.keyword}={value}" if switch.keyword is not None else value
            return f"`{switch.name}({given})`"
