"""Adds to the items of a `with` statement, in the layout that is there."""

from __future__ import annotations

from collections.abc import MutableMapping

import libcst as cst

from dbsafety.fix.snippets import expression
from dbsafety.model.rewrite import WrapItem

_BLANK = cst.SimpleWhitespace(" ")


def wrapped(original: cst.With, node: cst.With, wraps: MutableMapping[cst.BaseExpression, WrapItem]) -> cst.With:
    """The `with` statement with what `wraps` says of its items, by expression as parsed; those are taken out.

    `original` is the statement as parsed, `node` as changed so far.
    """
    items: list[cst.WithItem] = []
    for old, item in zip(original.items, node.items, strict=True):
        wrap = wraps.pop(old.item, None)
        if wrap is None:
            items.append(item)
            continue
        call = cst.Call(expression(wrap.function), [cst.Arg(item.item)])
        items.append(item.with_changes(item=call, comma=cst.Comma(whitespace_after=_BLANK)))
        items.append(cst.WithItem(expression(wrap.then), comma=item.comma))
    return node.with_changes(items=items)
