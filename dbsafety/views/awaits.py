"""Expressions with and without `await`."""

from __future__ import annotations

import ast


def awaited(node: ast.expr) -> ast.expr:
    """What is waited for where `node` is an `await`, else `node` itself."""
    return node.value if isinstance(node, ast.Await) else node
