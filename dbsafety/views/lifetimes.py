"""How long a connection lives that a class keeps in an attribute."""

from __future__ import annotations

from dbsafety.drivers.spec import Effect
from dbsafety.typestate.values import Key
from dbsafety.views.databases import openings_of
from dbsafety.views.view import FunctionView

_ENTERS = ("__enter__", "__aenter__")
_EXITS = ("__exit__", "__aexit__")


def ends_with_its_block(view: FunctionView, key: Key) -> bool:
    """Whether the class of the method opens the connection when a `with` block enters it, there alone, and closes it
    when the block ends: what a method leaves open is undone with the block.
    """
    cls = view.info.cls
    if key.kind != "attr" or cls is None:
        return False
    enters = [info for name, info in cls.methods.items() if name in _ENTERS]
    openings = openings_of(view.module, key)
    if not openings or any(opener.info not in enters for opener, _ in openings):
        return False
    exits = [FunctionView(view.module, info) for name, info in cls.methods.items() if name in _EXITS]
    return any(op.effect is Effect.CLOSE for exit_ in exits for _, op in exit_.ops(key))
