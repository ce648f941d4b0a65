"""Adds to what stands in parentheses, in the layout that is there: one line or many, trailing comma or not."""

from __future__ import annotations

import libcst as cst

from dbsafety.fix.snippets import expression
from dbsafety.model.faults import FixRefused

Space = cst.BaseParenthesizableWhitespace
_NONE = cst.SimpleWhitespace("")
_BLANK = cst.SimpleWhitespace(" ")


def set_keyword(call: cst.Call, name: str, value: str, position: int | None, line: int) -> cst.Call:
    """The call with the keyword `name=value`, in the place of that keyword or of positional argument `position`.

    Raises FixRefused, with the 1-based `line`, when an argument with `*` may already fill the position.
    """
    new = expression(value)
    for at, argument in enumerate(call.args):
        if argument.keyword is not None and argument.keyword.value == name:
            return _replaced(call, at, new)
    positional = [argument for argument in call.args if argument.keyword is None and argument.star != "**"]
    if position is not None:
        if any(argument.star for argument in positional[: position + 1]):
            raise FixRefused(f"`*` may already pass {name} in the call at line {line}")
        if position < len(positional):
            return _replaced(call, call.args.index(positional[position]), new)
    equal = cst.AssignEqual(whitespace_before=_NONE, whitespace_after=_NONE)
    return _appended(call, cst.Arg(new, keyword=cst.Name(name), equal=equal))


def _replaced(call: cst.Call, at: int, value: cst.BaseExpression) -> cst.Call:
    args = [*call.args]
    args[at] = args[at].with_changes(value=value)
    return call.with_changes(args=args)


def _appended(call: cst.Call, new: cst.Arg) -> cst.Call:
    if not call.args:
        return call.with_changes(args=[new])
    *before, last = call.args
    if isinstance(last.comma, cst.Comma):
        closing, comma = last.comma.whitespace_after, last.comma
    else:
        closing, comma = last.whitespace_after_arg, None
    separator = before[-1].comma if before else None
    between = separator.whitespace_after if isinstance(separator, cst.Comma) else call.whitespace_before_args
    if not before and not isinstance(closing, cst.ParenthesizedWhitespace):
        between = _BLANK
    # What follows the old last argument, its comment above all, stays with it.
    parted = cst.Comma(whitespace_after=joined(closing, between))
    last = last.with_changes(comma=parted, whitespace_after_arg=_NONE)
    if comma is None:
        new = new.with_changes(whitespace_after_arg=bare(closing))
    else:
        new = new.with_changes(comma=comma.with_changes(whitespace_after=bare(closing)))
    return call.with_changes(args=[*before, last, new])


def joined(closing: Space, between: Space) -> Space:
    """The space between the old last argument and the new one: comments of `closing`, indentation of `between`."""
    if isinstance(closing, cst.ParenthesizedWhitespace):
        if isinstance(between, cst.ParenthesizedWhitespace):
            return closing.with_changes(indent=between.indent, last_line=between.last_line)
        has_comment = closing.first_line.comment is not None or closing.empty_lines
        return closing if has_comment else _BLANK
    return bare(between) if isinstance(between, cst.ParenthesizedWhitespace) else _BLANK


def bare(space: Space) -> Space:
    """The space without its comments and blank lines."""
    if not isinstance(space, cst.ParenthesizedWhitespace):
        return space
    first = cst.TrailingWhitespace(newline=space.first_line.newline)
    return space.with_changes(first_line=first, empty_lines=())
